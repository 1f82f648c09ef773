// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vae;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.autograd.Autograd;
import io.sfumato.models.gan.GanLoss;
import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.NN;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Loss, adaptive weight and discriminator against their formulas in PyTorch. */
class AutoencoderLossTest {
  private static final Path FILE = Path.of("src/test/resources/torch/loss/io.safetensors");

  /** Two feature maps of a small network. */
  private static final class Features extends Module {
    private final Conv2d conv1;
    private final Conv2d conv2;

    Features(Weights weights) {
      super(weights);
      conv1 = child("conv1", w -> new Conv2d(w, 3, 4, 3));
      conv2 = child("conv2", w -> new Conv2d(w, 4, 6, 3, ConvOptions.of().stride(2).padding(1)));
    }

    List<Tensor> of(Tensor x) {
      Tensor a = NN.relu(conv1.call(x));
      return List.of(a, NN.relu(conv2.call(a)));
    }
  }

  @Test
  void theLossWithKlIsTheReferences() {
    var options =
        new AutoencoderLoss.Options(
            AutoencoderLoss.Pixels.L1, true, 0.5, 0.7, GanLoss.HINGE, 0.8, 0.5, 3);
    compare("kl", options, true);
  }

  @Test
  void theLossWithACodebookIsTheReferences() {
    compare(
        "vq",
        AutoencoderLoss.Options.vq().perceptualWeight(0).adversarial(GanLoss.NON_SATURATING, 1, 3),
        false);
  }

  private static void compare(String name, AutoencoderLoss.Options options, boolean features) {
    try (Scope scope = Scope.open();
        SafeTensors io = SafeTensors.open(FILE);
        Weights stored = Weights.open(FILE);
        Conv2d last = new Conv2d(stored.at("last"), 4, 3, 3);
        PatchDiscriminator judge = new PatchDiscriminator(stored.at("judge"), 3, 4, 2);
        Features network = new Features(stored.at("features"));
        Parameter h = new Parameter("h", io.read("h"))) {
      Tensor x = io.read("x");
      var perceptual = new PerceptualLoss(network::of, List.of(io.read("lin0"), io.read("lin1")));
      if (features) {
        close(io, name + ".distance", perceptual.call(x, last.call(h.value())));
      }
      var loss = new AutoencoderLoss(options, perceptual, judge);
      List<Parameter> wanted = new ArrayList<>(last.parameters());
      wanted.add(h);
      Tensor regularizer = Tensor.scalar(0.25f);
      Autograd.Result result =
          Autograd.valueAndGradWithExtra(
              wanted,
              () -> {
                var p = loss.autoencoder(x, h.value(), last, regularizer, 3);
                return new Tensor[] {
                  p.total(), p.nll(), p.adversarial(), p.weight(), p.reconstruction()
                };
              });
      close(io, name + ".total", result.value());
      close(io, name + ".nll", result.extra().get(0));
      close(io, name + ".g", result.extra().get(1));
      close(io, name + ".weight", result.extra().get(2));
      for (Parameter p : wanted) {
        close(io, name + ".grad." + p.name(), result.gradients().get(p));
      }
      Tensor reconstruction = result.extra().get(3);
      Autograd.Result judged =
          Autograd.valueAndGrad(judge.parameters(), () -> loss.discriminator(x, reconstruction, 3));
      close(io, name + ".d", judged.value());
      for (Parameter p : judge.parameters()) {
        close(io, name + ".grad." + p.name(), judged.gradients().get(p));
      }
      for (Parameter p : judge.buffers()) { // after three batches, as in the reference
        close(io, name + ".after." + p.name().substring("judge.".length()), p.value());
      }
      close(io, name + ".scores", judge.call(x));
    }
  }

  private static void close(SafeTensors io, String key, Tensor actual) {
    double[] expected = io.read(key).toDoubleArray();
    double largest = 1e-3;
    for (double v : expected) {
      largest = Math.max(largest, Math.abs(v));
    }
    assertArrayEquals(expected, actual.toDoubleArray(), 2e-5 * largest, key);
  }

  @Test
  void beforeItsStartTheDiscriminatorIsNotAsked() {
    try (Scope scope = Scope.open();
        Conv2d last = new Conv2d(Weights.init(Rng.seed(0)), 4, 1, 3);
        PatchDiscriminator judge = new PatchDiscriminator(Weights.init(Rng.seed(1)), 1, 2, 1)) {
      var options = AutoencoderLoss.Options.kl().adversarial(GanLoss.HINGE, 0.5, 10);
      var loss = new AutoencoderLoss(options, null, judge);
      Tensor x = Rng.seed(2).normal(2, 1, 8, 8);
      Tensor h = Rng.seed(3).normal(2, 4, 8, 8);
      Tensor zero = Tensor.scalar(0);
      assertFalse(loss.isAdversarial(9));
      assertTrue(loss.isAdversarial(10));
      var parts = loss.autoencoder(x, h, last, zero, 9);
      assertEquals(0, parts.weight().item());
      assertEquals(parts.nll().item(), parts.total().item());
      assertEquals(x.sub(parts.reconstruction()).abs().sum().item() / 2, parts.nll().item(), 1e-4);
      for (Parameter p : judge.buffers()) {
        if (p.name().endsWith("num_batches_tracked")) {
          assertEquals(0, p.value().item());
        }
      }
      assertThrows(
          IllegalStateException.class, () -> loss.discriminator(x, parts.reconstruction(), 9));
      var squares = new AutoencoderLoss(options.pixels(AutoencoderLoss.Pixels.MSE), null, null);
      assertEquals(
          x.sub(parts.reconstruction()).square().sum().item() / 2,
          squares.autoencoder(x, h, last, zero, 99).total().item(),
          1e-4);
    }
  }

  @Test
  void theDiscriminatorHasTheReferencesNamesAndShapes() {
    try (Scope scope = Scope.open();
        PatchDiscriminator judge = new PatchDiscriminator(Weights.meta(), 3)) {
      assertEquals(2_765_633, judge.parameterCount());
      var shapes = AutoencoderKLTest.shapes(judge.parameters());
      assertEquals("[64,3,4,4]", shapes.get("main.0.weight"));
      assertEquals("[64]", shapes.get("main.0.bias"));
      assertEquals("[128,64,4,4]", shapes.get("main.2.weight"));
      assertFalse(shapes.containsKey("main.2.bias"));
      assertEquals("[128]", shapes.get("main.3.weight"));
      assertEquals("[512,256,4,4]", shapes.get("main.8.weight"));
      assertEquals("[1,512,4,4]", shapes.get("main.11.weight"));
      assertEquals(13, shapes.size());
      assertTrue(judge.stateDict().containsKey("main.9.running_var"));
    }
  }

  @Test
  void wrongOptionsAreListedTogether() {
    var e =
        assertThrows(
            IllegalArgumentException.class,
            () ->
                new AutoencoderLoss.Options(
                    AutoencoderLoss.Pixels.L1, false, 1, -1, GanLoss.WGAN_GP, Double.NaN, 1, -2));
    for (String part :
        List.of("logvar", "perceptual_weight", "wgan-gp", "disc_weight", "disc_start")) {
      assertTrue(String.valueOf(e.getMessage()).contains(part), e.getMessage());
    }
  }

  @Test
  void featuresAndWeightsMustFit() {
    try (Scope scope = Scope.open()) {
      Tensor x = Tensor.zeros(1, 3, 4, 4);
      var none = new PerceptualLoss(t -> List.of());
      assertThrows(ShapeException.class, () -> none.call(x, x));
      var two = new PerceptualLoss(t -> List.of(t), List.of(x, x));
      assertThrows(ShapeException.class, () -> two.call(x, x));
    }
  }
}
