# SPDX-License-Identifier: Apache-2.0
# Writes torchvision.json beside this file: what torchvision (0.29.1 with torch 2.13.0) makes of one
# picture of pseudo-random bytes. pip install torchvision; python torchvision.py
import importlib.metadata, importlib.util, json, math, os
import torch

# The arithmetic alone, which works with any build of torch.
file = [str(f.locate()) for f in importlib.metadata.files("torchvision") if f.name == "_functional_tensor.py"]
spec = importlib.util.spec_from_file_location("functional", [f for f in file if "v2" not in f][0])
F = importlib.util.module_from_spec(spec)
spec.loader.exec_module(F)

def rotate(picture, angle):  # as torchvision.transforms.functional.rotate
    a = math.radians(-angle)
    matrix = [math.cos(a), math.sin(a), 0.0, -math.sin(a), math.cos(a), 0.0]
    return F.rotate(picture, matrix, interpolation="bilinear")

torch.manual_seed(0)
picture = torch.randint(0, 256, (3, 7, 9), dtype=torch.uint8)
picture[:, 0, :3] = torch.tensor([0, 128, 255], dtype=torch.uint8)  # greys
cases = []
def case(name, value, result):
    cases.append({"operation": name, "value": value, "pixels": bytes(result.flatten().tolist()).hex()})
for v in (0.0, 0.65, 1.0, 1.7):
    case("brightness", v, F.adjust_brightness(picture, v))
    case("contrast", v, F.adjust_contrast(picture, v))
    case("saturation", v, F.adjust_saturation(picture, v))
for v in (-0.5, -0.13, 0.0, 0.29, 0.5):
    case("hue", v, F.adjust_hue(picture, v))
for v in (-30.0, 0.0, 17.0, 90.0, 180.0):
    case("rotate", v, rotate(picture, v))
grey = picture[:1]
for v in (0.65, 1.7):
    case("grey contrast", v, F.adjust_contrast(grey, v))
json.dump({"torchvision": importlib.metadata.version("torchvision"), "shape": list(picture.shape),
           "pixels": bytes(picture.flatten().tolist()).hex(), "cases": cases},
          open(os.path.splitext(os.path.abspath(__file__))[0] + ".json", "w"), indent=1)
