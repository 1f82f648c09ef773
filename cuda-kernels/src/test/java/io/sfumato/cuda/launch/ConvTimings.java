// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.launch.Convolutions.From;
import io.sfumato.cuda.library.Cudnn;
import io.sfumato.cuda.library.CudnnConvolution.Kind;
import io.sfumato.cuda.library.MissingLibraryException;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.DeviceException;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.ops.Conv2d;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.Shaping;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * A program for a machine with a GPU: times convolutions of U-Nets and of an image decoder in each
 * way that there is. Arguments: element types, {@code tf32} among them; without any bf16 and tf32.
 * Each line has the sizes, the product, the way, microseconds and TFLOP/s.
 */
public final class ConvTimings {
  private static final int RUNS = 10;
  private static final double LONG_SECONDS = 0.005; // what takes as long is timed once
  private static final double MOST_SECONDS = 14;
  private static final long BEGIN = System.nanoTime();

  private ConvTimings() {}

  /** images, in, size, out, kernel, stride. */
  private static final int[][] SHAPES = {
    {16, 320, 64, 320, 3, 1},
    {8, 1280, 16, 1280, 3, 1},
    {128, 64, 32, 64, 3, 1},
    {8, 960, 64, 320, 1, 1},
    {8, 4, 64, 320, 3, 1},
    {8, 320, 64, 320, 3, 2},
    {2, 128, 512, 128, 3, 1},
  };

  /** Prints a line per case, and stops when a quarter of a minute is over. */
  public static void main(String[] arguments) {
    Gpu gpu = Gpu.of(0);
    Cudnn cudnn = null;
    try {
      cudnn = Convolutions.open(gpu);
      System.out.println(gpu.name() + ", cuDNN " + cudnn.name());
    } catch (MissingLibraryException e) {
      System.out.println(gpu.name() + ", no cuDNN: " + e.getMessage());
    }
    for (String type : arguments.length > 0 ? arguments : new String[] {"bf16", "tf32"}) {
      boolean tf32 = type.equals("tf32");
      DType dtype = tf32 ? DType.F32 : DType.valueOf(type.toUpperCase(Locale.ROOT));
      for (int[] shape : SHAPES) {
        if ((System.nanoTime() - BEGIN) / 1e9 > MOST_SECONDS) {
          System.out.println("time is up: the rest is left out");
          return;
        }
        Cudnn found = cudnn;
        Scope.run(() -> time(gpu, found, dtype, tf32, shape));
      }
    }
  }

  private static void time(Gpu gpu, @Nullable Cudnn cudnn, DType dtype, boolean tf32, int[] s) {
    Device device = gpu.device();
    ConvOptions o = ConvOptions.of().stride(s[5]).padding(s[4] / 2).resolved(2);
    TensorSpec spec = new TensorSpec(Shape.of(s[0], s[1], s[2], s[2]), dtype, device);
    Shape kernel = Shape.of(s[3], s[1], s[4], s[4]);
    Shape result = new Conv2d(o, false).infer(List.of(spec, spec.with(kernel))).getFirst().shape();
    Tensor x = Shaping.channelsLast(random(spec));
    Tensor w = random(spec.with(kernel));
    Tensor b = random(spec.with(Shape.of(s[3])));
    Tensor dy = Shaping.channelsLast(random(spec.with(result)));
    Convolution c = Convolution.of(o, x, w, dy);
    double flop = 2.0 * result.numel() * s[1] * s[4] * s[4];
    try (ConvWeights weights = new ConvWeights(gpu, c, w)) {
      Map<Kind, From> products =
          Map.of(
              Kind.FORWARD, new From(x.address(), weights, 0, b.address()),
              Kind.INPUT, new From(dy.address(), weights, 0, 0),
              Kind.WEIGHT, new From(dy.address(), null, x.address(), 0));
      for (Kind kind : Kind.values()) {
        Tensor like = kind == Kind.WEIGHT ? w : kind == Kind.INPUT ? x : dy;
        long out = Tensor.empty(like.spec()).address();
        From from = products.get(kind);
        Convolutions all = Convolutions.of(gpu, cudnn);
        long start = System.nanoTime();
        Map<String, Convolutions.Way> ways = all.candidates(kind, c, from.bias() != 0, tf32);
        System.out.printf(
            Locale.ROOT,
            "%d ways to compute %s prepared in %.0f ms%n",
            ways.size(),
            kind,
            (System.nanoTime() - start) / 1e6);
        ways.forEach(
            (name, way) -> {
              try (way) {
                double seconds = seconds(gpu, way, from, out);
                System.out.printf(
                    Locale.ROOT,
                    "%s %d x %d x %d^2 -> %d, %d^2 / %d, %s, %s: %.1f us, %.1f TFLOP/s%n",
                    tf32 ? "tf32" : dtype,
                    s[0],
                    s[1],
                    s[2],
                    s[3],
                    s[4],
                    s[5],
                    kind,
                    name,
                    seconds * 1e6,
                    flop / seconds / 1e12);
              } catch (DeviceException e) {
                System.out.println(kind + " by " + name + ": " + e.getMessage());
              }
            });
      }
    }
  }

  private static double seconds(Gpu gpu, Convolutions.Way way, From from, long out) {
    seconds(gpu, way, from, out, 1);
    double once = seconds(gpu, way, from, out, 1);
    return once > LONG_SECONDS ? once : seconds(gpu, way, from, out, RUNS);
  }

  private static double seconds(Gpu gpu, Convolutions.Way way, From from, long out, int runs) {
    long start = System.nanoTime();
    for (int i = 0; i < runs; i++) {
      way.run(from, out);
    }
    gpu.synchronize();
    return (System.nanoTime() - start) / 1e9 / runs;
  }

  private static Tensor random(TensorSpec spec) {
    return Rng.seed(5).normal(spec.with(DType.F32)).to(spec.dtype());
  }
}
