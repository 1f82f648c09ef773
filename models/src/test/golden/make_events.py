#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Events as TensorBoard itself writes them, and a check that it reads ours.

make_events.py                 writes ../resources/tensorboard/events (needs: pip install tensorboard)
make_events.py --read FOLDER   prints what TensorBoard's reader finds in a folder of events
"""
import argparse, pathlib, struct
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

ap = argparse.ArgumentParser()
ap.add_argument("--read")
A = ap.parse_args()
if A.read:
    e = event_accumulator.EventAccumulator(A.read, size_guidance={event_accumulator.SCALARS: 0})
    e.Reload()
    for tag in e.Tags()["scalars"]:
        print("scalar", tag, [(s.step, round(s.value, 6)) for s in e.Scalars(tag)][-5:])
    for tag in e.Tags()["images"]:
        print("image", tag, [(s.step, s.width, s.height, len(s.encoded_image_string)) for s in e.Images(tag)])
    for tag in e.Tags()["histograms"]:
        print("histogram", tag, [(s.step, s.histogram_value.num, s.histogram_value.min, s.histogram_value.max) for s in e.Histograms(tag)])
    raise SystemExit

S, V = summary_pb2.Summary, summary_pb2.Summary.Value
limits = [-1.0 + (i + 1) * (5.0 / 30) for i in range(29)] + [4.0]
counts = [0.0] * 30
for v in (-1.0, 0.5, 0.5, 4.0):
    counts[min(29, int((v + 1.0) / (5.0 / 30)))] += 1
histogram = summary_pb2.HistogramProto(min=-1, max=4, num=4, sum=4, sum_squares=17.5, bucket_limit=limits, bucket=counts)
events = [
    event_pb2.Event(wall_time=1700000000.5, file_version="brain.Event:2"),
    event_pb2.Event(wall_time=1700000000.5, step=300, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START)),
    event_pb2.Event(wall_time=1700000000.5, step=300, summary=S(value=[V(tag="loss", simple_value=0.25)])),
    event_pb2.Event(wall_time=1700000000.5, step=1 << 40, summary=S(value=[V(tag="loss", simple_value=0.0)])),
    event_pb2.Event(wall_time=1700000000.5, step=301, summary=S(value=[V(tag="größe", simple_value=float("nan"))])),
    event_pb2.Event(wall_time=1700000000.5, step=302, summary=S(value=[V(tag="samples", image=S.Image(height=2, width=300, colorspace=3, encoded_image_string=b"png"))])),
    event_pb2.Event(wall_time=1700000000.5, step=303, summary=S(value=[V(tag="weights", histo=histogram)])),
]
out = pathlib.Path(__file__).resolve().parent.parent / "resources" / "tensorboard" / "events"
with open(out, "wb") as f:
    w = RecordWriter(f)
    for e in events: w.write(e.SerializeToString())
    w.flush()
