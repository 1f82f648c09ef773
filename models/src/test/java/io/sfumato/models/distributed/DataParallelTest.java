// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.GradientAccumulator;
import io.sfumato.autograd.Gradients;
import io.sfumato.autograd.optim.AdamW;
import io.sfumato.autograd.optim.Ema;
import io.sfumato.autograd.optim.Optimizer;
import io.sfumato.autograd.optim.ParameterGroup;
import io.sfumato.autograd.optim.StepOptions;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Updates;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class DataParallelTest {
  private static final int BATCH = 4; // of each rank
  private static final int STEPS = 4;

  private static Optimizer adamW(List<ParameterGroup> groups) {
    return new AdamW(groups, AdamW.options().weightDecay(0.1));
  }

  private static List<ParameterGroup> groups(TinyModel model) {
    List<Parameter> all = model.parameters;
    return List.of(
        ParameterGroup.of(all.subList(0, 3)).learningRate(2e-3),
        ParameterGroup.of(all.subList(3, all.size())));
  }

  /** One process that accumulates as many micro-batches as there would be ranks. */
  private static double[] alone(DType type, int parts, Double limit) {
    try (TinyModel model = new TinyModel(type, 1);
        Optimizer optimizer = adamW(groups(model))) {
      for (int s = 0; s < STEPS; s++) {
        try (Scope scope = Scope.open();
            GradientAccumulator sum = new GradientAccumulator()) {
          for (int r = 0; r < parts; r++) {
            long first = (long) (s * parts + r) * BATCH;
            sum.add(
                Autograd.valueAndGrad(model.parameters, () -> model.loss(first, BATCH))
                    .gradients());
          }
          optimizer.step(sum.mean(), new StepOptions(1, limit, null));
        }
      }
      return model.values();
    }
  }

  private static double[] together(
      Collectives ranks, DType type, ParallelOptions options, boolean overlap, Double limit) {
    // Only rank 0 begins with the right weights.
    try (TinyModel model = new TinyModel(type, 1 + ranks.rank())) {
      DataParallel parallel = new DataParallel(ranks, options, model.parameters);
      try (Optimizer optimizer = parallel.optimizer(groups(model), DataParallelTest::adamW)) {
        parallel.begin(List.of());
        for (int s = 0; s < STEPS; s++) {
          try (Scope scope = Scope.open()) {
            long first = (long) (s * ranks.size() + ranks.rank()) * BATCH;
            Gradients own =
                Autograd.valueAndGradWithExtra(
                        model.parameters,
                        () -> new Tensor[] {model.loss(first, BATCH)},
                        overlap ? parallel.listener() : null)
                    .gradients();
            Gradients mean = parallel.average(own);
            assertNull(mean.get(model.parameters.getLast()));
            optimizer.step(mean, new StepOptions(1, limit, null));
          }
          parallel.checkSame();
        }
      }
      return model.values();
    }
  }

  @ParameterizedTest
  @CsvSource({
    "2,F64,26214400,false,true",
    "3,F64,200,false,true",
    "3,F64,1,true,true",
    "5,F32,300,false,false",
    "4,F32,300,true,true",
    "8,F64,26214400,true,false",
    "2,BF16,64,false,true",
    "16,F64,400,true,true"
  })
  void ranksGiveToTheBitWhatOneProcessGetsThatAccumulates(
      int ranks, DType type, long bucketBytes, boolean zero, boolean overlap) {
    double[] wanted = alone(type, ranks, null);
    ParallelOptions options = ParallelOptions.usual().bucketBytes(bucketBytes).zero(zero);
    for (double[] values : ThreadRanks.run(ranks, c -> together(c, type, options, overlap, null))) {
      assertArrayEquals(wanted, values);
    }
  }

  @Test
  void aLimitOfTheNormIsThatOfAllParametersWithShardedStatesToo() {
    double[] wanted = alone(DType.F64, 3, 0.05);
    for (boolean zero : new boolean[] {false, true}) {
      ParallelOptions options = ParallelOptions.usual().zero(zero);
      for (double[] values : ThreadRanks.run(3, c -> together(c, DType.F64, options, true, 0.05))) {
        assertArrayEquals(wanted, values, 1e-15);
      }
    }
  }

  @Test
  void theNormAndTheLossAreThoseOfAllRanks() {
    ThreadRanks.run(
        3,
        c -> {
          try (TinyModel model = new TinyModel(DType.F64, 1)) {
            double[] norms = new double[2];
            for (int zero = 0; zero < 2; zero++) {
              DataParallel parallel =
                  new DataParallel(c, ParallelOptions.usual().zero(zero == 1), model.parameters);
              Gradients own =
                  Autograd.valueAndGrad(model.parameters, () -> model.loss(c.rank(), 2))
                      .gradients();
              norms[zero] = parallel.norm(parallel.average(own));
              assertEquals(2, parallel.average(1.0 + c.rank()));
              assertEquals(Double.NaN, parallel.average(c.rank() == 1 ? Double.NaN : 1));
            }
            assertEquals(norms[0], norms[1], 1e-15);
            return null;
          }
        });
  }

  @Test
  void aParameterThatOnlySomeRanksUsedGetsZerosFromTheOthers() {
    ThreadRanks.run(
        2,
        c -> {
          try (TinyModel model = new TinyModel(DType.F64, 1)) {
            DataParallel parallel = new DataParallel(c, ParallelOptions.usual(), model.parameters);
            Parameter last = model.parameters.getLast();
            Gradients mean =
                parallel.average(
                    Gradients.of(
                        c.rank() == 1
                            ? Map.of(last, Tensor.of(new double[] {2, 4, 6}, 3))
                            : Map.of()));
            assertArrayEquals(new double[] {1, 2, 3}, mean.get(last).toDoubleArray());
            assertEquals(1, mean.asMap().size());
            return null;
          }
        });
  }

  @Test
  void parametersThatDifferAreNamedWithTheRanks() {
    List<String> said =
        ThreadRanks.run(
            3,
            c -> {
              try (TinyModel model = new TinyModel(DType.F32, 1)) {
                DataParallel parallel =
                    new DataParallel(c, ParallelOptions.usual(), model.parameters);
                parallel.checkSame();
                if (c.rank() != 0) { // the smallest change there is, in one element
                  Tensor bias = model.parameters.get(3).value().slice(0, 2, 3);
                  double next = Math.nextUp((float) bias.item());
                  Updates.copy(bias, Tensor.of(new double[] {next}, 1));
                }
                return assertThrows(CollectiveException.class, parallel::checkSame).getMessage();
              }
            });
    for (String message : said) {
      assertTrue(message.contains("layer1.bias of ranks 1, 2"), message);
    }
  }

  @Test
  void ranksWithOtherParametersAreRefusedWithTheDifference() {
    ThreadRanks.run(
        2,
        c -> {
          try (TinyModel model = new TinyModel(c.rank() == 0 ? DType.F32 : DType.F64, 1)) {
            String said =
                assertThrows(
                        CollectiveException.class,
                        () -> new DataParallel(c, ParallelOptions.usual(), model.parameters))
                    .getMessage();
            assertTrue(said.contains("layer0.bias is 1: F32 [7] on rank 0"), said);
            assertTrue(said.contains("F64 [7] on rank 1"), said);
            return null;
          }
        });
  }

  /** Trains some steps; the state before them comes from, and that after them goes into, a map. */
  private static double[] stage(
      Collectives c, boolean zero, long from, Map<String, double[]> saved, double[] weights) {
    try (TinyModel model = new TinyModel(DType.F64, 1)) {
      DataParallel parallel =
          new DataParallel(c, ParallelOptions.usual().zero(zero), model.parameters);
      try (Optimizer optimizer = parallel.optimizer(groups(model), DataParallelTest::adamW)) {
        if (weights != null) {
          int at = 0;
          Map<String, Tensor> state = new HashMap<>();
          for (Parameter p : model.parameters) {
            int n = (int) p.value().numel();
            double[] own = Arrays.copyOfRange(weights, at, at + n);
            Updates.copy(p.value(), Tensor.of(own, p.value().shape().dims()));
            at += n;
            saved.forEach(
                (name, v) -> {
                  if (name.startsWith(p.name() + ".exp")) {
                    state.put(name, Tensor.of(v, p.value().shape().dims()));
                  }
                });
          }
          saved.forEach((name, v) -> state.putIfAbsent(name, Tensor.of(v, v.length)));
          optimizer.load(state);
        }
        for (long s = from; s < from + 3; s++) {
          try (Scope scope = Scope.open()) {
            // The same twelve samples for any number of ranks.
            int batch = 12 / c.size();
            long first = s * 12 + (long) c.rank() * batch;
            Gradients own =
                Autograd.valueAndGrad(model.parameters, () -> model.loss(first, batch)).gradients();
            optimizer.step(parallel.average(own));
          }
        }
        if (optimizer instanceof ShardedOptimizer sharded) {
          sharded.consolidate();
        }
        if (c.rank() == 0) {
          Map<String, double[]> now = new TreeMap<>();
          optimizer.state().forEach((name, t) -> now.put(name, t.toDoubleArray()));
          saved.clear();
          saved.putAll(now);
        } else if (zero) {
          assertThrows(IllegalStateException.class, optimizer::state);
        }
      }
      return model.values();
    }
  }

  @ParameterizedTest
  @CsvSource({"3,2", "2,1", "1,4", "4,3"})
  void aStateOfSomeRanksGoesOnWithOthers(int before, int after) {
    // Wanted: one process, whole states, six steps.
    Map<String, double[]> whole = new HashMap<>();
    double[] half = ThreadRanks.run(1, c -> stage(c, false, 0, whole, null)).getFirst();
    double[] end = ThreadRanks.run(1, c -> stage(c, false, 3, whole, half)).getFirst();

    Map<String, double[]> saved = new HashMap<>();
    double[] first = ThreadRanks.run(before, c -> stage(c, true, 0, saved, null)).getFirst();
    Map<String, double[]> kept = Map.copyOf(saved);
    List<double[]> last =
        ThreadRanks.run(
            after, c -> stage(c, after > 1, 3, c.rank() == 0 ? saved : new HashMap<>(kept), first));
    assertEquals(whole.keySet(), saved.keySet());
    whole.forEach((name, v) -> assertArrayEquals(v, saved.get(name), 1e-13, name));
    last.forEach(v -> assertArrayEquals(end, v, 1e-13));
  }

  @Test
  void averagesMoveWithShardedStatesAsWithout() {
    List<double[]> results = new ArrayList<>();
    for (boolean zero : new boolean[] {false, true}) {
      results.add(
          ThreadRanks.run(
                  2,
                  c -> {
                    try (TinyModel model = new TinyModel(DType.F64, 1);
                        Ema ema = new Ema(model.parameters, Ema.options())) {
                      DataParallel parallel =
                          new DataParallel(c, ParallelOptions.usual().zero(zero), model.parameters);
                      try (Optimizer optimizer =
                          parallel.optimizer(groups(model), DataParallelTest::adamW)) {
                        for (int s = 0; s < 3; s++) {
                          long first = 2L * s + c.rank();
                          Gradients own =
                              Autograd.valueAndGrad(model.parameters, () -> model.loss(first, 1))
                                  .gradients();
                          optimizer.step(parallel.average(own), StepOptions.NONE.average(ema));
                        }
                      }
                      return ema.averages().stream()
                          .flatMapToDouble(p -> Arrays.stream(p.value().toDoubleArray()))
                          .toArray();
                    }
                  })
              .getLast());
    }
    assertArrayEquals(results.get(0), results.get(1), 1e-15);
  }
}
