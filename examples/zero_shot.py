"""Compare texts with a picture, name what it shows, and look into a part of it. The model is "starter"."""

from foveal import load
from foveal.data import Scenes

encoder = load("starter", device="cpu")  # or a folder, or a hub name such as "qihoo360/fg-clip-base"
sample = next(iter(Scenes(seed=1, size=96, count=1)))  # or a path of a photo

texts = ["a fruit on a colored tile", "a street at night"]
print(encoder.similarity(texts, [sample.image]))

print(encoder.classify([sample.image], ["fruit", "animal", "car"]).softmax(dim=1))

boxes = [region.box for region in sample.regions]
regions = encoder.encode_regions([sample.image], [boxes])[0]
phrases = encoder.encode_texts([region.phrase for region in sample.regions], kind="phrase")
print((phrases @ regions.T).argmax(dim=1))
