// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.golden;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.sfumato.autograd.Autograd;
import io.sfumato.models.vae.AutoencoderKL;
import io.sfumato.models.vae.DiagonalGaussianDistribution;
import io.sfumato.models.vae.Tiling;
import io.sfumato.models.vae.VQModel;
import io.sfumato.models.vae.VectorQuantizer;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/**
 * AutoencoderKL and VQModel against diffusers, and where it has no files, against its formulas in
 * PyTorch (make_autoencoders.py): outputs, every gradient, and written files.
 */
class GoldenAutoencodersTest {
  @TempDir Path temporary;

  private static Stream<DynamicTest> each(String className, Consumer<Path> body) {
    return Stream.concat(
            Golden.modelsOf("models", className).stream(),
            Golden.modelsIn(Golden.resource("/torch"), className).stream())
        .map(p -> DynamicTest.dynamicTest(p.getFileName().toString(), () -> body.accept(p)));
  }

  @TestFactory
  Stream<DynamicTest> autoencoderKL() {
    return each("AutoencoderKL", p -> compareKL(p, false));
  }

  @TestFactory
  Stream<DynamicTest> autoencoderKLRecomputing() {
    return each("AutoencoderKL", p -> compareKL(p, true));
  }

  private static void compareKL(Path folder, boolean recompute) {
    try (Scope scope = Scope.open();
        AutoencoderKL vae = AutoencoderKL.open(folder);
        SafeTensors io = SafeTensors.open(folder.resolve("io.safetensors"))) {
      vae.setGradientCheckpointing(recompute);
      Tensor x = io.read("in.x");
      DiagonalGaussianDistribution posterior = vae.encode(x);
      Golden.assertClose("mean", io.read("out.mean"), posterior.mean(), 1e-5);
      Golden.assertClose("logvar", io.read("out.logvar"), posterior.logvar(), 1e-5);
      Golden.assertClose("kl", io.read("out.kl"), posterior.kl(), 1e-5);
      Golden.assertClose("recon", io.read("out.recon_of_mode"), vae.call(x), 1e-5);
      vae.setSlicing(true);
      Golden.assertClose("sliced", io.read("out.recon_of_mode"), vae.call(x), 1e-5);
      vae.setSlicing(false);
      GoldenGradients.compare(io, vae, "x", "recon_of_mode", vae::call);
    }
  }

  @TestFactory
  Stream<DynamicTest> vqModel() {
    return each("VQModel", p -> compareVQ(p, false));
  }

  @TestFactory
  Stream<DynamicTest> vqModelRecomputing() {
    return each("VQModel", p -> compareVQ(p, true));
  }

  private static void compareVQ(Path folder, boolean recompute) {
    try (Scope scope = Scope.open();
        VQModel model = VQModel.open(folder);
        SafeTensors io = SafeTensors.open(folder.resolve("io.safetensors"))) {
      model.setGradientCheckpointing(recompute);
      Tensor x = io.read("in.x");
      Tensor latents = model.encode(x);
      Golden.assertClose("latents", io.read("out.latents"), latents, 1e-5);
      VectorQuantizer.Quantized q = model.quantizer().quantize(latents);
      assertArrayEquals(io.read("out.indices").toLongArray(), q.indices().toLongArray(), "indices");
      Golden.assertClose("quantized", io.read("out.quantized"), q.quantized(), 1e-5);
      Golden.assertClose("recon", io.read("out.recon"), model.call(x).sample(), 1e-5);
      Golden.assertClose(
          "recon of indices", io.read("out.recon"), model.decodeIndices(q.indices()), 1e-5);
      GoldenGradients.compare(io, model, "x", "recon", input -> model.call(input).sample());
      boolean hasLoss = io.entries().containsKey("out.loss");
      if (hasLoss && Double.isFinite(io.read("out.loss").toDoubleArray()[0])) {
        compareLoss(io, model, x);
      }
    }
  }

  /** Older versions of the reference return no loss; its file holds NaN then. */
  private static void compareLoss(SafeTensors io, VQModel model, Tensor x) {
    Autograd.Result result = Autograd.valueAndGrad(model.parameters(), () -> model.call(x).loss());
    Golden.assertClose(
        "loss", io.read("out.loss").toDoubleArray(), result.value().toDoubleArray(), 1e-5);
    for (Parameter p : model.parameters()) {
      String key = "lossgrad." + p.name();
      if (io.entries().containsKey(key)) {
        Golden.assertClose(key, io.read(key), result.gradients().get(p), 2e-4);
      }
    }
  }

  @Test
  void tilesAreTheReferences() {
    Path folder = Golden.resource("/golden/models/autoencoder_kl");
    try (Scope scope = Scope.open();
        AutoencoderKL vae = AutoencoderKL.open(folder);
        SafeTensors io = SafeTensors.open(Golden.resource("/torch/tiles/io.safetensors"))) {
      vae.setTiling(Tiling.of(vae.config()));
      Tensor x = io.read("in.x");
      Tensor z = io.read("in.z");
      Golden.assertClose("moments", io.read("out.moments"), vae.moments(x), 1e-5);
      Golden.assertClose("recon", io.read("out.recon"), vae.decode(z), 1e-5);
      vae.setSlicing(true);
      Golden.assertClose("sliced", io.read("out.moments"), vae.moments(x), 1e-5);
    }
  }

  @TestFactory
  Stream<DynamicTest> savedFolderIsTheReferencesKL() {
    return each(
        "AutoencoderKL",
        p -> {
          try (AutoencoderKL vae = AutoencoderKL.open(p)) {
            compareFiles(p, vae::save);
          }
        });
  }

  @TestFactory
  Stream<DynamicTest> savedFolderIsTheReferencesVQ() {
    return each(
        "VQModel",
        p -> {
          try (VQModel model = VQModel.open(p)) {
            compareFiles(p, model::save);
          }
        });
  }

  private void compareFiles(Path folder, Consumer<Path> save) {
    try {
      Path copy = Files.createDirectories(temporary.resolve(folder.getFileName().toString()));
      save.accept(copy);
      assertEquals(
          Files.readString(folder.resolve("config.json")),
          Files.readString(copy.resolve("config.json")));
      String weights = "diffusion_pytorch_model.safetensors";
      assertArrayEquals(
          Files.readAllBytes(folder.resolve(weights)), Files.readAllBytes(copy.resolve(weights)));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
