// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Eager;
import io.sfumato.tensor.ops.CodeTables;
import io.sfumato.tensor.ops.CodedTensor;
import io.sfumato.tensor.ops.Linear;
import io.sfumato.tensor.ops.Quantize;
import io.sfumato.tensor.ops.QuantizedLinear;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Times products with a weight of 4 or 8 bits on a GPU: with the codes, and with the weight decoded
 * to memory first, beside the product with a weight of 16 bits. A program to be run by hand; its
 * arguments are how long each takes, in milliseconds, and the width of the layer.
 */
public final class QuantizedTimings {
  private static final Device GPU = new Device("cuda", 0);
  private static final int[] ROWS = {1, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096};
  private static final int ALL = Integer.MAX_VALUE;

  private final LaunchTimer timer;

  private QuantizedTimings(double milliseconds) {
    timer = new LaunchTimer(Gpu.of(0), milliseconds * 1e6);
  }

  /** Prints a line per case. */
  public static void main(String[] arguments) {
    double budget = arguments.length > 0 ? Double.parseDouble(arguments[0]) : 50;
    int width = arguments.length > 1 ? Integer.parseInt(arguments[1]) : 4096;
    Scope.run(() -> new QuantizedTimings(budget).run(width));
  }

  private void run(int width) {
    Tensor w = Rng.seed(1).normal(width, width);
    Map<String, CodedTensor> coded =
        Map.of(
            "4 bits", Quantize.fourBit(w, CodeTables.nf4(), 64, 256),
            "8 bits", Quantize.rowsInt8(w));
    Tensor plain = w.to(GPU).to(DType.BF16);
    for (int rows : ROWS) {
      Scope.run(
          () -> {
            Tensor x = Rng.seed(2).normal(rows, width).to(GPU).to(DType.BF16);
            double frozen = time(() -> Eager.INSTANCE.execute(new Linear(false), x, plain));
            coded.forEach(
                (name, weight) -> {
                  line(rows, width, name, weight, x, false, frozen);
                  line(rows, width, name, weight, x, true, frozen);
                });
          });
    }
  }

  private void line(
      int rows, int width, String name, CodedTensor w, Tensor x, boolean adjoint, double frozen) {
    QuantizedLinear op = new QuantizedLinear(w.coding(), adjoint, false);
    List<Tensor> in = new ArrayList<>(List.of(x));
    w.parts().forEach(part -> in.add(part.to(GPU)));
    Runnable call = () -> Eager.INSTANCE.execute(op, in.toArray(Tensor[]::new));
    System.setProperty(QuantizedProducts.PROPERTY, String.valueOf(ALL));
    double codes = time(call);
    System.setProperty(QuantizedProducts.PROPERTY, "0");
    double decoded = time(call);
    System.clearProperty(QuantizedProducts.PROPERTY);
    System.out.printf(
        Locale.ROOT,
        "%d rows of %d, %s%s: 16 bits %.1f us, codes %.1f us (%.2f), decoded first %.1f us"
            + " (%.2f)%n",
        rows,
        width,
        name,
        adjoint ? ", gradient" : "",
        frozen,
        codes,
        codes / frozen,
        decoded,
        decoded / frozen);
  }

  /** Microseconds of a call. */
  private double time(Runnable call) {
    return timer.each(call) * 1e-3;
  }
}
