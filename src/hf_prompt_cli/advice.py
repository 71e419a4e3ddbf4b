"""What `hf-prompt train` says when no method is named: what was measured, in short; docs/choosing.md has all of it."""

ADVICE = """\
Which method? Each runs as `hf-prompt train METHOD …`; `hf-prompt train METHOD --help` has its flags and examples.

  coop         pictures into classes, from 8 or more labelled pictures of each
  kgcoop       like coop, for prompts that are carried to other classes; docs/prompt_methods.md compares these:
  prograd      like coop, from one to four images of each class
  ivlp         deep prompts in the text tower, the image tower, or both
  maple        deep prompts whose image side is made from the text side
  promptsrc    deep prompts that stay near to the backbone: the best published results without other data
  cocoop       a context that depends on the image
  tcp          a context with tokens made from each class name
  mmrl         tokens that both towers share; the largest checkpoint of these
  action_clip  videos into classes; from few clips with --trainable head --learning_rate 1e-4
  cpt          which region of a picture a phrase means, from 4 or more phrases
  mantis       texts about products, from their pictures and titles
  frozen       captions, answers about pictures, examples in the prompt; the language model stays as it is
  alpro        videos found by a sentence, answers about videos; begin with a pre-trained checkpoint

No labelled examples? `hf-prompt predict BACKBONE photos --class_names names.txt` classifies images and videos by class
names alone, CPT grounds phrases untrained: docs/clip_zero_shot.md, docs/cpt.md.
No test set? --test_fraction 0.2 holds out a fifth of each class. Folders called n01 or roses? --class_names names.csv.

How many examples? Accuracy in %, mean ± deviation over seeds, measured here with tiny backbones (docs/choosing.md):

  examples                                         none  1           2           4           8           16
  coop, drawn pictures, 12 classes                 46.8  43.4 ± 4.1  45.3 ± 3.7  46.9 ± 2.7  54.8 ± 2.1  58.3 ± 2.9
  coop, photos of groceries, 81 classes            12.9  16.3 ± 0.4  19.9 ± 0.7  21.0 ± 0.1  21.3 ± 0.2  21.2 ± 0.2
  action_clip, photos of exercises, 7 classes      16.2  21.9 ± 2.5  25.6 ± 1.9  31.5 ± 1.3  30.5 ± 4.2  35.4 ± 0.4
  cpt, drawn scenes, phrases in all                77.9  79.4 ± 1.8              85.4 ± 3.5              90.7 ± 0.6

  One picture a class may teach less than the words know (46.8, then 43.4): every run prints the result without
  training beside its own. Seeds differ by up to 4 points: use --seeds 1 2 3 before you believe a difference.
  Where only the order of frames tells (128 clips a class): action_clip 69.2 ± 4.1 with --trainable head, 33.1 ± 0.2
  with the frames' mean (docs/action_clip.md). All 2,000 phrases give cpt 99.4.
  alpro from nothing, 655 sentences: median rank 45.5 of 218 (docs/alpro.md).

Which backbone? No figures of real, full-size backbones were measured here. A prompt shows nothing that its backbone
does not see: try with openai/clip-vit-base-patch32, settle with openai/clip-vit-base-patch16, or any CLIP, MetaCLIP 2
or SigLIP; `--backbone playground` is the tiny one in the package. cpt: dandelin/vilt-b32-mlm. mantis, frozen: any
causal language model with any image model. A prompt fits the backbone that it was learned for.

Too slow? coop --augmented_views 16 trains without the image tower: 56.4 ± 0.4 in place of 58.3 ± 2.9 on the drawings,
21.3 ± 0.2 in place of 21.2 ± 0.2 on the photos (docs/coop.md); a step of 32 pictures and 100 classes takes
0.51 s in place of 2.40 (docs/performance.md).

See it first, offline: hf-prompt demo"""
