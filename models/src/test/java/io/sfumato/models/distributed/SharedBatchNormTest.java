// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.autograd.Autograd;
import io.sfumato.models.nn.BatchNorm2d;
import io.sfumato.models.nn.BatchShare;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.Num;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Batch normalisation of a batch that several ranks have shares of. */
class SharedBatchNormTest {
  private static final int BATCH = 6;
  private static final int CHANNELS = 3;

  /** Results of this share, its gradients of first and second order, and the statistics. */
  @SuppressWarnings("ArrayRecordComponent") // never compared
  private record Results(double[] y, double[] first, double[] second, double[] statistics) {}

  private static Results results(Team team, DType type) {
    try (Scope scope = Scope.open();
        BatchNorm2d norm = new BatchNorm2d(Weights.init(Rng.seed(1), type, Device.CPU), CHANNELS)) {
      TensorSpec spec = new TensorSpec(Shape.of(BATCH, CHANNELS, 2, 4), DType.F64, Device.CPU);
      Tensor x = team.share().cut(Rng.seed(2).normal(spec).mul(3).add(1)).to(type).contiguous();
      return team.run(
          () ->
              Module.training(
                  () -> {
                    double[] y = norm.call(x).toDoubleArray();
                    Tensor slope = slope(norm, x);
                    Tensor bend = Autograd.grad(v -> Num.sum(slope(norm, v).square()), x);
                    double[] statistics =
                        norm.buffers().stream()
                            .map(Parameter::value)
                            .flatMapToDouble(b -> Arrays.stream(b.toDoubleArray()))
                            .toArray();
                    return new Results(y, slope.toDoubleArray(), bend.toDoubleArray(), statistics);
                  }));
    }
  }

  private static Tensor slope(BatchNorm2d norm, Tensor x) {
    return Autograd.grad(v -> Num.sum(norm.call(v).pow(3)), x);
  }

  @ParameterizedTest
  @CsvSource({"2,F64,1e-11", "3,F64,1e-11", "3,F32,2e-4"})
  void sharesHaveTheResultsAndGradientsOfTheWhole(int ranks, DType type, double tolerance) {
    Results whole = results(new Team(new Alone(), ParallelOptions.usual()), type);
    List<Results> parts =
        ThreadRanks.run(ranks, c -> results(new Team(c, ParallelOptions.usual()), type));
    List<double[]> y = new ArrayList<>();
    List<double[]> first = new ArrayList<>();
    List<double[]> second = new ArrayList<>();
    for (Results part : parts) {
      y.add(part.y);
      first.add(part.first);
      second.add(part.second);
      assertArrayEquals(whole.statistics, part.statistics, tolerance);
      assertArrayEquals(parts.getFirst().statistics, part.statistics); // to the bit
    }
    assertArrayEquals(whole.y, joined(y), tolerance);
    assertArrayEquals(whole.first, joined(first), tolerance);
    assertArrayEquals(whole.second, joined(second), 10 * tolerance);
  }

  private static double[] joined(List<double[]> parts) {
    return parts.stream().flatMapToDouble(Arrays::stream).toArray();
  }

  @Test
  void sixteenBitsStaySixteenBits() {
    ThreadRanks.run(
        2,
        c -> {
          Team team = new Team(c, ParallelOptions.usual());
          try (BatchNorm2d norm = new BatchNorm2d(Weights.init(Rng.seed(1)), CHANNELS)) {
            Tensor x = Rng.seed(2).normal(2, CHANNELS, 2, 2).to(DType.BF16);
            DType type = team.run(() -> Module.training(() -> norm.call(x).dtype()));
            assertEquals(DType.BF16, type);
          }
          return null;
        });
  }

  @Test
  void aShareThatHearsNothingOfTheOthersIsRefused() {
    try (Scope scope = Scope.open();
        BatchNorm2d norm = new BatchNorm2d(Weights.init(Rng.seed(1)), CHANNELS)) {
      Tensor x = Rng.seed(2).normal(2, CHANNELS, 2, 2);
      BatchShare share = new BatchShare(1, 2);
      String said =
          assertThrows(
                  IllegalStateException.class,
                  () -> share.run(() -> Module.training(() -> norm.call(x))))
              .getMessage();
      assertTrue(said.contains("this is share 1 of 2 with no way to the others"), said);
      Tensor y = share.run(() -> BatchShare.apart(() -> Module.training(() -> norm.call(x))));
      Tensor alone = Module.training(() -> norm.call(x));
      assertArrayEquals(alone.toFloatArray(), y.toFloatArray(), 1e-5f);
    }
  }
}
