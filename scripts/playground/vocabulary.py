"""Training of a byte-level BPE tokenizer in the format of CLIP."""

import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

from transformers import CLIPTokenizer


BOS, EOS = "<|startoftext|>", "<|endoftext|>"

# Words that are common in prompts, or that captions of scenes, clips and product cards use. They are single tokens, so
# that prompts are short, even if the words do not occur in pre-training.
EVERYDAY_WORDS = """
a bad good nice weird clean dirty cool old new low high resolution quality many few some several two three four five
all no not and or of the in on at by to from with without for is are was it its this that these those there here
what which who how do does did has have can you see we i my your his her our their one more less most than very hard
close up cropped bright dark blurry pixelated jpeg corrupted black white color colour colours photo photograph
picture image drawing painting sketch doodle cartoon rendering render sculpture statue origami plastic plush plushie
toy embroidered tattoo graffiti art artwork cutout paper outline line lines pencil chalk board neon light glowing
sign blueprint mosaic tile video clip game movie scene frame film show shows showing shown type kind style pattern
texture shape object objects thing things background ground wall floor table left right above below under over
between behind front next near far top bottom middle corner side big small large tiny huge middling thin thick long
short round flat moving moves still stands rolling rolls jumping jumps bouncing bounces falling falls rising rises
turning turns spinning spins sliding slides growing grows shrinking shrinks shaking flying flies swimming swims
driving drives going goes coming away toward towards across around up down out into off slowly quickly fast slow
then first last before after while product price new sale brand made material size set pack item items title
description label class category named called question answer yes person people man woman child dog cat bird horse
animal plant food day night water fire
"""


def byte_symbols() -> list[str]:
    """Return the 256 characters that represent the byte values 0 to 255 in byte-level BPE.

    Printable Latin-1 bytes represent themselves; the others are mapped to the characters from U+0100 on, in order.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return [chr(byte) if byte in printable else chr(next(spare)) for byte in range(256)]


def learn_merges(texts: Iterable[str], count: int) -> list[tuple[str, str]]:
    """Compute the first `count` BPE merges of ASCII texts, or fewer if all words are single tokens before.

    Each merge joins the most frequent pair; ties are resolved alphabetically.
    """
    frequency = Counter(word for text in texts for word in re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]+", text.lower()))
    words = {word: [*word[:-1], f"{word[-1]}</w>"] for word in frequency}
    merges: list[tuple[str, str]] = []
    while len(merges) < count:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, pieces in words.items():
            for pair in pairwise(pieces):
                pairs[pair] += frequency[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for pieces in words.values():
            place = 0
            while place < len(pieces) - 1:
                if (pieces[place], pieces[place + 1]) == best:
                    pieces[place : place + 2] = ["".join(best)]
                place += 1
    return merges


def learn_tokenizer(texts: Iterable[str], count: int) -> CLIPTokenizer:
    """Train a `CLIPTokenizer` on texts and the `EVERYDAY_WORDS`.

    The vocabulary has the layout of CLIP: 256 bytes, 256 word-final bytes, at most `count` merges, BOS and, as the
    last token, EOS. There are no unknown tokens, because every text can be encoded as bytes.
    """
    merges = learn_merges([*texts, EVERYDAY_WORDS], count)
    symbols = byte_symbols()
    entries = [*symbols, *(f"{symbol}</w>" for symbol in symbols), *("".join(pair) for pair in merges), BOS, EOS]
    vocab = {entry: index for index, entry in enumerate(dict.fromkeys(entries))}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=77)
