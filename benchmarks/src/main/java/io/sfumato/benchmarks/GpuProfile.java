// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Decorator;
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.exec.ViewOp;
import io.sfumato.tensor.exec.ViewsOp;
import io.sfumato.tensor.ops.Num;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Function;
import java.util.function.Supplier;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * What the GPU itself spends on each op of a case of the suite. The device is first kept busy with
 * products, so that the host is far ahead and ops follow each other without gaps; marks in the
 * stream between ops are read when all is done. Times include the marks, about a microsecond.
 */
@Command(
    name = "gpu-profile",
    description = "The device's time per op of cases of the speed suite.",
    mixinStandardHelpOptions = true)
public final class GpuProfile implements java.util.concurrent.Callable<Integer> {
  private static final int WARM_UP = 12;
  private static final int BUSY = 8192;

  @Option(names = "--only", description = "Cases whose name contains this.", defaultValue = "train")
  private String only = "";

  @Option(names = "--dtype", description = "f32 or bf16.", defaultValue = "f32")
  private String dtypeName = "f32";

  @Option(names = "--lines", description = "Lines per table.", defaultValue = "25")
  private int lines;

  @Option(names = "--busy", description = "Products before each run.", defaultValue = "3")
  private int busy;

  private GpuProfile() {}

  /** Prints two tables per case: by op, and by op with the shapes of its inputs. */
  public static void main(String[] args) {
    System.exit(Programs.run(new GpuProfile(), args));
  }

  private record Mark(String op, String shapes, long at) {}

  private record Marking(Executor inner, Gpu gpu, List<Mark> marks) implements Decorator {
    @Override
    public Marking over(Executor other) {
      return new Marking(other, gpu, marks);
    }

    @Override
    public Tensor[] execute(Op op, Tensor... inputs) {
      Tensor[] out = inner.execute(op, inputs);
      if (!(op instanceof ViewOp || op instanceof ViewsOp)) {
        String shapes = inputs.length > 6 ? inputs.length + " inputs" : shapes(inputs);
        marks.add(new Mark(op.name(), shapes, gpu.mark()));
      }
      return out;
    }

    private static String shapes(Tensor[] inputs) {
      return String.join(" ", Arrays.stream(inputs).map(t -> t.shape().toString()).toList());
    }
  }

  @Override
  public Integer call() {
    Device device = Suite.device("cuda");
    DType dtype = Suite.dtype(dtypeName);
    Gpu gpu = Gpu.of(0);
    Map<String, Supplier<SuiteCase>> cases = SuiteCases.all(device, dtype);
    cases.keySet().retainAll(Suite.selected(only));
    for (Map.Entry<String, Supplier<SuiteCase>> e : cases.entrySet()) {
      try (Scope scope = Scope.open();
          SuiteCase benchmark = e.getValue().get()) {
        Tensor big =
            Tensor.full(
                new io.sfumato.tensor.TensorSpec(
                    io.sfumato.tensor.Shape.of(BUSY, BUSY), DType.F32, device),
                0.5);
        List<Mark> marks = new ArrayList<>();
        for (int i = 0; i < WARM_UP; i++) {
          marks.forEach(m -> gpu.forget(m.at));
          marks.clear();
          run(gpu, benchmark, big, marks, i < WARM_UP - 2 ? 0 : busy);
        }
        print(e.getKey(), gpu, marks);
        marks.forEach(m -> gpu.forget(m.at));
      }
    }
    return 0;
  }

  private static void run(
      Gpu gpu, SuiteCase benchmark, Tensor big, List<Mark> marks, int products) {
    for (int i = 0; i < products; i++) {
      Scope.run(() -> Num.matmul(big, big));
    }
    marks.add(new Mark("start", "", gpu.mark()));
    Executor.with(
        new Marking(Executor.current(), gpu, marks),
        () -> {
          Scope.run(benchmark.body());
          return 0;
        });
    gpu.synchronize();
  }

  private void print(String name, Gpu gpu, List<Mark> marks) {
    float total = gpu.milliseconds(marks.getFirst().at, marks.getLast().at);
    System.out.printf(Locale.ROOT, "%s %s: %.3f ms on the device%n", name, dtypeName, total);
    table(gpu, marks, Mark::op);
    table(gpu, marks, m -> m.op + " " + m.shapes);
  }

  private void table(Gpu gpu, List<Mark> marks, Function<Mark, String> key) {
    Map<String, double[]> sums = new LinkedHashMap<>();
    for (int i = 1; i < marks.size(); i++) {
      double[] sum = sums.computeIfAbsent(key.apply(marks.get(i)), k -> new double[2]);
      sum[0]++;
      sum[1] += gpu.milliseconds(marks.get(i - 1).at, marks.get(i).at);
    }
    sums.entrySet().stream()
        .sorted((a, b) -> Double.compare(b.getValue()[1], a.getValue()[1]))
        .limit(lines)
        .forEach(
            e ->
                System.out.printf(
                    Locale.ROOT,
                    "%9.3f ms %5.0f x %s%n",
                    e.getValue()[1],
                    e.getValue()[0],
                    e.getKey()));
    System.out.println();
  }
}
