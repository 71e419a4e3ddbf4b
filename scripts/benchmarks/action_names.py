"""400 action names of one to four words for the ActionCLIP benchmark, similar in length to those of large datasets."""

_NAMES = """
abseiling; applauding; applying lipstick; archery; arguing; arranging flowers; assembling a bicycle; backflip;
balancing on a slackline; bandaging; bartending; bathing a dog; beatboxing; beekeeping; belly dancing; biking through
snow; blasting sand; blowing out candles; blowing bubbles; bobsledding; bookbinding; bouncing on a trampoline; bowling;
boxing; braiding hair; breaking boards; brewing coffee; brushing teeth; brushing hair; building a cabinet; bungee
jumping; burping; busking; calligraphy; canoeing; capsizing; card stacking; carrying a baby; carrying luggage;
cartwheeling; carving ice; catching a fish; catching a ball; celebrating; changing gears; checking a watch;
cheerleading; chewing gum; chiselling stone; chopping onions; clapping; clay pottery; clean and jerk; cleaning gutters;
cleaning windows; cleaning shoes; climbing a rope; climbing a tree; climbing a ladder; combing a beard; contact
juggling; counting money; country line dancing; cracking knuckles; crawling; crocheting; crossing a river; crying;
curling; cutting a pineapple; cutting nails; cutting apples; cutting cake; dancing ballet; dancing charleston; darning
socks; dealing cards; decorating a tree; delivering mail; dining; diving off a cliff; dodgeball; doing aerobics; doing
nails; doing sudoku; drawing; dribbling a basketball; drilling holes; drinking through a straw; driving a car; driving
a tractor; drop kicking; drumming fingers; dusting shelves; dyeing hair; eating a burger; eating spaghetti; eating ice
cream; eating hotdogs; eating chips; egg hunting; embroidering; exercising an arm; extinguishing a fire; falling off a
bike; faceplanting; feeding birds; feeding fish; fencing; fidgeting; filing nails; filling eyebrows; finger snapping;
fixing hair; flipping pancakes; flint knapping; flying a kite; folding clothes; folding paper; front raises; frying
vegetables; garbage collecting; geocaching; getting a haircut; getting a tattoo; giving an award; glassblowing; golf
driving; golf putting; grinding meat; grooming a horse; grooming a cat; hammer throw; hand washing; hang gliding;
hauling a boat; headbanging; herding cattle; high jump; high kick; historical reenactment; hitting a baseball; holding
a snake; hopscotch; hoverboarding; hugging; hula hooping; hurling; ice climbing; ice fishing; ice skating; ice
swimming; installing carpet; ironing; ironing hair; javelin throw; jaywalking; jogging; jogging with a dog; juggling
balls; juggling fire; jumping into a pool; jumping a bicycle; jumping jacks; karaoke; kayaking; kicking a football;
kissing; kitesurfing; kneading dough; knitting; krumping; laughing; laying bricks; laying concrete; laying tiles;
licking; lifting a hat; lighting a candle; lock picking; long jump; looking at a phone; luge; lunges; making a bed;
making jewelry; making a snowman; making sushi; making tea; making a sandwich; marching; massaging a back; massaging
feet; massaging legs; massaging a head; mending a net; mixing colours; mopping the floor; mosh pit dancing;
motorcycling; mowing the lawn; needle felting; news anchoring; nodding; opening a bottle; opening a refrigerator;
opening a door; origami; packing a suitcase; paddleboarding; painting a portrait; parading; paragliding; parasailing;
parkour; passing a ball; peeling apples; peeling potatoes; petting a cat; petting a dog; photocopying; picking fruit;
pillow fighting; pinching; pirouetting; planting trees; plastering; playing accordion; playing badminton; playing
bagpipes; playing bass guitar; playing cards; playing cello; playing chess; playing clarinet; playing cymbals; playing
didgeridoo; playing drums; playing flute; playing guitar; playing harp; playing hockey; playing keyboard; playing
kickball; playing organ; playing paintball; playing piano; playing poker; playing recorder; playing squash; playing
tennis; playing trombone; playing trumpet; playing ukulele; playing volleyball; playing xylophone; plumbing; pogo
jumping; pole vaulting; pouring concrete; praying; presenting the weather; preparing a salad; punching a bag; pull ups;
pumping a fist; pumping petrol; push ups; pushing a cart; pushing a wheelchair; putting on eyeliner; putting on shoes;
racing motocross; raising eyebrows; reading a book; reading a newspaper; recording music; repairing a puncture; riding
a bike; riding an elephant; riding a mule; riding a scooter; riding a unicycle; ripping paper; roasting a marshmallow;
robot dancing; rock climbing; rock scissors paper; rolling pastry; rope pushdown; running on a treadmill; sailing;
salsa dancing; sausage making; sawing; scrambling eggs; scrapbooking; scrubbing a pan; setting a table; sewing; shaking
hands; shaking a head; sharpening knives; shaving a head; shaving legs; shearing sheep; shining shoes; shooting an
arrow; shot put; shovelling snow; shucking oysters; sign language; signing a document; singing; situps; skateboarding;
ski jumping; skiing crosscountry; skipping rope; skydiving; slacklining; slapping; sleeping; smashing; smoking a pipe;
smoking; snatch weightlifting; sniffing; snorkeling; snowboarding; snowkiting; snowmobiling; spinning a poi; spray
painting; spraying; springboard diving; square dancing; stacking cups; steering; sticking out a tongue; stomping
grapes; stretching an arm; strumming a guitar; surfing a crowd; surfing on water; sweeping the floor; swimming
backstroke; swimming butterfly; swing dancing; swinging legs; swinging on something; sword fighting; taking a shower;
talking on the phone; tango dancing; tap dancing; tapping a pen; tasting food; tearing cloth; testifying; texting;
throwing an axe; throwing a ball; throwing a discus; tickling; tobogganing; tossing salad; training a dog; trapezing;
trimming a beard; trimming trees; tubing; twirling a baton; tying a bow tie; tying a knot; tying a necktie; unloading a
truck; using a computer; using a remote; using a microscope; vacuuming; waiting in line; waking up; walking the dog;
washing dishes; washing feet; washing hands; waterskiing; watering plants; waxing a chest; waxing eyebrows; welding;
whistling; windsurfing; winking; wrapping a present; writing; yawning; yodelling; yoga
"""

ACTION_NAMES = [" ".join(name.split()) for name in _NAMES.split(";")]
"""In the order of the alphabet, roughly: names that begin alike are neighbours, as some are in every data set."""
