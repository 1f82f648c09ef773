// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vqvae;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.autograd.Autograd;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.Parallel;
import io.sfumato.tensor.io.Weights;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The codebook: gradients, averages, revival, what is saved. Numbers are in GoldenVqVaeTest. */
class VectorQuantizerTest {
  private static final VqVaeConfig SMALL =
      VqVaeConfig.of(1).widths(8, 4).codebook(16, 3); // revival below one vector per batch

  @TempDir Path folder;

  private static VectorQuantizer quantizer(VqVaeConfig config) {
    return new VectorQuantizer(Weights.init(Rng.seed(1)).at("quantizer"), config);
  }

  @Test
  void gradientsPassStraightThrough() {
    try (Scope scope = Scope.open();
        VectorQuantizer q = quantizer(SMALL)) {
      Tensor x = Rng.seed(2).normal(5, 3);
      Tensor g = Rng.seed(3).normal(5, 3);
      Tensor dx = Autograd.grad(t -> q.call(t).quantized().mul(g).sum(), x);
      assertArrayEquals(g.toFloatArray(), dx.toFloatArray());
    }
  }

  @Test
  void commitmentDrawsVectorsToCodes() {
    try (Scope scope = Scope.open();
        VectorQuantizer q = quantizer(SMALL)) {
      Tensor x = Rng.seed(2).normal(5, 3);
      Tensor code = q.decode(q.encode(x));
      Tensor expected = x.sub(code).mul(2 * 0.25 / 15);
      assertArrayEquals(
          expected.toFloatArray(), Autograd.grad(t -> q.call(t).loss(), x).toFloatArray(), 1e-7f);
    }
  }

  @Test
  void unusedCodesAreSetToVectorsOfTheBatch() {
    try (Scope scope = Scope.open();
        VectorQuantizer q = quantizer(SMALL)) {
      Tensor x = Rng.seed(2).normal(200, 3).add(10); // far from the codes: one is taken by all
      Tensor codes = q.encode(x);
      assertEquals(1, q.perplexity(codes).item(), 1e-6);
      q.update(x, codes, Rng.seed(4));
      Set<List<Float>> rows = rows(x);
      int ofTheBatch = 0;
      for (List<Float> code : rowList(q.embedding().value())) {
        ofTheBatch += rows.contains(code) ? 1 : 0;
      }
      assertEquals(15, ofTheBatch); // all but the one that was used
      float[] size = q.stateDict().get("quantizer.cluster_size").toFloatArray();
      float[] average = q.stateDict().get("quantizer.embed_avg").toFloatArray();
      float[] table = q.embedding().value().toFloatArray();
      for (int k = 0; k < 16; k++) {
        assertTrue(size[k] >= 1, "a revived code stands for one vector");
        if (size[k] == 1) {
          assertEquals(table[3 * k], average[3 * k], "and for nothing else");
        }
      }
      assertTrue(q.perplexity(q.encode(x)).item() > 8);
    }
  }

  @Test
  void usedCodesBecomeTheMeanOfTheirVectors() {
    try (Scope scope = Scope.open();
        VectorQuantizer q = quantizer(SMALL)) {
      Tensor centres = Rng.seed(5).normal(4, 3).mul(5);
      Tensor x = centres.unsqueeze(1).add(Rng.seed(6).normal(4, 100, 3).mul(0.01)).reshape(400, 3);
      for (int step = 0; step < 1500; step++) {
        try (Scope one = Scope.open()) {
          q.update(x, q.encode(x), Rng.seed(7).step(step));
        }
      }
      Tensor codes = q.encode(x);
      assertTrue(Math.sqrt(x.sub(q.decode(codes)).square().mean().item()) < 0.01);
      long[] chosen = codes.toLongArray();
      List<List<Float>> rows = rowList(x);
      List<List<Float>> table = rowList(q.embedding().value());
      for (int k = 0; k < 16; k++) {
        int number = k;
        int[] own = IntStream.range(0, 400).filter(i -> chosen[i] == number).toArray();
        double mean =
            Arrays.stream(own).mapToDouble(i -> rows.get(i).get(0)).average().orElseThrow();
        assertEquals(mean, table.get(k).get(0), 1e-3, "code " + k);
      }
    }
  }

  @Test
  void theUpdateDoesNotDependOnThreads() {
    int before = Parallel.threads();
    float[] expected = null;
    try {
      for (int threads = 1; threads <= 3; threads++) {
        Parallel.setThreads(threads);
        try (Scope scope = Scope.open();
            VectorQuantizer q = quantizer(SMALL)) {
          Tensor x = Rng.seed(7).normal(3000, 3);
          for (int step = 0; step < 3; step++) {
            q.update(x, q.encode(x), Rng.seed(8).step(step));
          }
          float[] got = q.embedding().value().toFloatArray();
          expected = expected == null ? got : expected;
          assertArrayEquals(expected, got, threads + " threads");
        }
      }
    } finally {
      Parallel.setThreads(before);
    }
  }

  @Test
  void averagesAreSavedAndGoOn() {
    try (Scope scope = Scope.open();
        VqVae model = new VqVae(Weights.init(Rng.seed(1)), SMALL)) {
      Tensor z = Rng.seed(9).normal(2, 4, 4, 3);
      model.quantizer().update(z, model.quantizer().encode(z), Rng.seed(1));
      model.save(folder);
      try (VqVae read = VqVae.open(folder)) {
        assertEquals(SMALL, read.config());
        assertEquals(model.stateDict().keySet(), read.stateDict().keySet());
        assertTrue(read.stateDict().containsKey("quantizer.cluster_size"));
        for (VqVae m : List.of(model, read)) {
          m.quantizer().update(z, m.quantizer().encode(z), Rng.seed(2));
        }
        model
            .stateDict()
            .forEach(
                (name, t) ->
                    assertArrayEquals(
                        t.toFloatArray(), read.stateDict().get(name).toFloatArray(), name));
      }
    }
  }

  @Test
  void aTrainedCodebookIsAParameter() {
    try (VectorQuantizer q = quantizer(SMALL.trainedCodebook());
        VectorQuantizer averaged = quantizer(SMALL)) {
      assertEquals(1, q.parameters().size());
      assertEquals(0, q.buffers().size());
      assertEquals(0, averaged.parameters().size());
      assertEquals(3, averaged.buffers().size());
    }
  }

  @Test
  void whatIsWrongIsSaidAtOnce() {
    String message =
        assertThrows(
                IllegalArgumentException.class,
                () -> new VqVaeConfig(0, 7, 4, 2, 2, 0, 3, -1, 1.0, 0, -1))
            .getMessage();
    for (String part :
        List.of("channels", "hidden", "codes", "commitment", "decay", "epsilon", "revival")) {
      assertTrue(message.contains(part), message);
    }
    assertTrue(
        assertThrows(
                IllegalArgumentException.class,
                () -> new VqVaeConfig(1, 8, 4, 2, 2, 16, 3, 0.25, null, 1e-5, 1))
            .getMessage()
            .contains("set decay"));
    try (Scope scope = Scope.open();
        VqVae model = new VqVae(Weights.init(Rng.seed(1)), SMALL)) {
      String shape =
          assertThrows(ShapeException.class, () -> model.encode(Tensor.zeros(1, 1, 8, 6)))
              .getMessage();
      assertTrue(shape.contains("multiples of 4") && shape.contains("[1, 1, 8, 6]"), shape);
    }
  }

  private static Set<List<Float>> rows(Tensor t) {
    return new HashSet<>(rowList(t));
  }

  private static List<List<Float>> rowList(Tensor t) {
    float[] v = t.toFloatArray();
    List<List<Float>> rows = new ArrayList<>();
    for (int i = 0; i < v.length; i += 3) {
      rows.add(List.of(v[i], v[i + 1], v[i + 2]));
    }
    return rows;
  }
}
