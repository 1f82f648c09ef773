// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.eval;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.TensorFileException;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The measures against numpy, scipy and scikit-image; see make_eval.py. */
class MeasuresTest {
  @TempDir Path temporary;
  private Scope scope;
  private SafeTensors golden;

  @BeforeEach
  void open() throws URISyntaxException {
    scope = Scope.open();
    golden =
        SafeTensors.open(Path.of(MeasuresTest.class.getResource("/eval/eval.safetensors").toURI()));
  }

  @AfterEach
  void close() {
    golden.close();
    scope.close();
  }

  private double[] values(String name) {
    return golden.read(name).toDoubleArray();
  }

  @Test
  void frechetDistance() {
    Tensor a = golden.read("frechet.a");
    Tensor b = golden.read("frechet.b");
    double expected = values("frechet.distance")[0];
    assertEquals(expected, Frechet.distance(a, b), 1e-9 * expected);
    assertEquals(expected, Frechet.distance(b, a), 1e-9 * expected);
  }

  @Test
  void frechetDistanceOfFewerVectorsThanFeatures() {
    Tensor a = golden.read("singular.a");
    Tensor b = golden.read("singular.b");
    double expected = values("singular.distance")[0];
    assertEquals(expected, Frechet.distance(a, b), 1e-9 * expected);
    assertEquals(0, Frechet.distance(a, a), 1e-9);
  }

  @Test
  void distanceOfNormalsAlongTheAxesIsThatOfTheirDeviations() {
    // C = diag(s²): d² = Σ (m₁ - m₂)² + (s₁ - s₂)².
    double[] tiny = {1e-12, 0, 0, 4};
    var a = new FeatureStatistics(10, new double[] {1, 2}, tiny);
    var b = new FeatureStatistics(10, new double[] {1, 5}, new double[] {4e-12, 0, 0, 25});
    assertEquals(1e-12 + 9 + 9, Frechet.distance(a, b), 1e-14);
    var c = new FeatureStatistics(10, new double[] {0, 0}, new double[] {0, 0, 0, 0});
    assertEquals(5 + 4 + 1e-12, Frechet.distance(a, c), 1e-14);
  }

  @Test
  void statisticsAreThoseOfNumpyAndSurviveSaving() {
    FeatureStatistics computed = FeatureStatistics.of(golden.read("frechet.a"));
    Path file = temporary.resolve("statistics.safetensors");
    computed.save(file);
    FeatureStatistics read = FeatureStatistics.open(file);
    double[] mean = values("frechet.mean");
    double[] covariance = values("frechet.covariance");
    assertEquals(200, read.count());
    assertEquals(12, read.width());
    for (int i = 0; i < 12; i++) {
      assertEquals(mean[i], read.mean(i), 1e-13);
      for (int j = 0; j < 12; j++) {
        assertEquals(covariance[i * 12 + j], read.covariance(i, j), 1e-11);
        assertEquals(computed.covariance(i, j), read.covariance(i, j));
      }
    }
    assertEquals(0, Frechet.distance(computed, read), 1e-9);
  }

  @Test
  void wrongStatisticsAreListedTogether() {
    var e =
        assertThrows(
            IllegalArgumentException.class,
            () ->
                new FeatureStatistics(1, new double[] {0, Double.NaN}, new double[] {1, 0, 2, 1}));
    assertTrue(e.getMessage().contains("2 vectors or more; got 1"), e.getMessage());
    assertTrue(e.getMessage().contains("must be symmetric; [1, 0] is 2.0"), e.getMessage());
    assertTrue(e.getMessage().contains("value 1 is NaN"), e.getMessage());
    Path file = temporary.resolve("other.safetensors");
    SafeTensors.save(file, Map.of("mean", Tensor.zeros(3)));
    var missing = assertThrows(TensorFileException.class, () -> FeatureStatistics.open(file));
    assertTrue(missing.getMessage().contains("covariance, count missing"), missing.getMessage());
    assertThrows(
        IllegalArgumentException.class,
        () -> Frechet.distance(golden.read("frechet.a"), golden.read("singular.a")));
    assertThrows(ShapeException.class, () -> FeatureStatistics.of(Tensor.zeros(3)));
  }

  @Test
  void manifolds() {
    Tensor real = golden.read("manifold.real");
    Tensor fake = golden.read("manifold.fake");
    for (int k : new int[] {3, 5}) {
      Manifolds.Result r = Manifolds.compare(real, fake, k);
      assertArrayEquals(
          values("manifold." + k),
          new double[] {r.precision(), r.recall(), r.density(), r.coverage()},
          1e-12);
    }
  }

  @Test
  void aSetCoversItself() {
    Tensor x = Rng.seed(1).normal(50, 4);
    Manifolds.Result r = Manifolds.compare(x, x, 3);
    assertEquals(1, r.precision());
    assertEquals(1, r.recall());
    assertEquals(1, r.coverage());
    assertEquals(4.0 / 3, r.density(), 1e-12); // each ball holds its own vector and three more
    Manifolds.Result far = Manifolds.compare(x, x.add(1000), 3);
    assertEquals(new Manifolds.Result(0, 0, 0, 0), far);
  }

  @Test
  void manifoldsRefuseWhatTheyCannotCompare() {
    Tensor x = Rng.seed(1).normal(5, 4);
    assertThrows(IllegalArgumentException.class, () -> Manifolds.compare(x, x, 5));
    assertThrows(IllegalArgumentException.class, () -> Manifolds.compare(x, x, 0));
    assertThrows(ShapeException.class, () -> Manifolds.compare(x, Tensor.zeros(5, 3), 1));
    var e =
        assertThrows(
            IllegalArgumentException.class, () -> Manifolds.compare(x, x.div(Tensor.zeros(1)), 1));
    assertTrue(e.getMessage().startsWith("generated vector 0 holds "), e.getMessage());
  }

  @Test
  void psnrAndSsim() {
    Tensor x = golden.read("pictures.x");
    Tensor y = golden.read("pictures.y");
    double[] psnr = Similarity.psnr(x, y, 255);
    double[] expected = values("pictures.psnr");
    assertEquals(expected[0], psnr[0], 1e-10);
    assertEquals(expected[1], psnr[1], 1e-10);
    assertEquals(Double.POSITIVE_INFINITY, psnr[2]);
    double[] ssim = Similarity.ssim(x, y, 255);
    assertArrayEquals(values("pictures.ssim"), ssim, 1e-10);
    assertEquals(1, ssim[2], 1e-12);
    Tensor u = x.div(127.5).sub(1);
    Tensor v = y.div(127.5).sub(1);
    assertArrayEquals(values("unit.ssim"), Similarity.ssim(u, v, 2), 1e-10);
  }

  @Test
  void likenessRefusesPicturesThatDiffer() {
    Tensor x = Tensor.zeros(1, 1, 11, 12);
    assertThrows(ShapeException.class, () -> Similarity.psnr(x, Tensor.zeros(1, 1, 12, 11), 1));
    assertThrows(ShapeException.class, () -> Similarity.psnr(x.squeeze(0), x.squeeze(0), 1));
    assertThrows(IllegalArgumentException.class, () -> Similarity.ssim(x, x, 0));
    Tensor small = Tensor.zeros(1, 1, 10, 12);
    var e = assertThrows(ShapeException.class, () -> Similarity.ssim(small, small, 1));
    assertTrue(e.getMessage().contains("at least 11 x 11"), e.getMessage());
  }
}
