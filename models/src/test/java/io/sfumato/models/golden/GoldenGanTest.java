// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.golden;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;

import com.fasterxml.jackson.databind.JsonNode;
import io.sfumato.autograd.Autograd;
import io.sfumato.models.data.InMemoryImageDataset;
import io.sfumato.models.gan.Gan;
import io.sfumato.models.gan.GanLoss;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.models.nn.Module;
import io.sfumato.models.train.BatchLoader;
import io.sfumato.models.train.GanOptions;
import io.sfumato.models.train.GanTrainer;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/**
 * Gan and its training against PyTorch (src/test/golden/make_gan.py): state dictionary, losses,
 * every gradient (of second order, too, for penalties), two steps, and a sample afterwards.
 */
class GoldenGanTest {
  @TempDir Path temporary;

  @TestFactory
  Stream<DynamicTest> training() {
    return Golden.own("gan").map(f -> DynamicTest.dynamicTest(f.getFileName() + "", () -> run(f)));
  }

  private static void run(Path folder) {
    JsonNode options = ModelConfig.read(folder.resolve("training.json"));
    double rate = options.get("generator_rate").doubleValue();
    GanOptions how =
        GanOptions.of(GanLoss.parse(options.get("loss").asText()))
            .r1(options.path("r1").asDouble(0))
            .discriminator(1, options.get("discriminator_rate").doubleValue() / rate)
            .betas(options.get("beta1").doubleValue(), options.get("beta2").doubleValue());
    if (options.has("gradient_penalty")) {
      how = how.gradientPenalty(options.get("gradient_penalty").doubleValue());
    }
    Gan gan = Gan.open(folder);
    try (Scope scope = Scope.open();
        GanTrainer trainer = new GanTrainer(gan, how, nothing(gan), Rng.seed(0));
        SafeTensors io = SafeTensors.open(folder.resolve("io.safetensors"))) {
      double[] losses = new double[4];
      for (int step = 0; step < 2; step++) {
        Tensor x = io.read("x").select(0, step);
        Tensor t = io.read("t").select(0, step);
        Tensor z = io.read("z").select(0, step);
        Tensor y = labels(io, step);
        if (step == 0) {
          // What moves in a training forward is put back, so that gradients cost nothing.
          Map<String, Tensor> before = Buffers.of(gan);
          Autograd.Result d =
              Module.training(
                  () -> {
                    Tensor generated = gan.generator().call(z.select(0, 0), y);
                    return Autograd.valueAndGrad(
                        gan.discriminator().parameters(),
                        () -> trainer.discriminatorLoss(x, generated, y, t));
                  });
          compare("d", "discriminator.", gan.discriminator(), d, io);
          Buffers.restore(gan, before);
        }
        losses[2 * step] = trainer.discriminatorStep(x, y, z.select(0, 0), t, rate);
        if (step == 0) {
          Map<String, Tensor> before = Buffers.of(gan);
          Autograd.Result g =
              Module.training(
                  () ->
                      Autograd.valueAndGrad(
                          gan.generator().parameters(),
                          () -> trainer.generatorLoss(y, z.select(0, 1))));
          compare("g", "generator.", gan.generator(), g, io);
          Buffers.restore(gan, before);
        }
        losses[2 * step + 1] = trainer.generatorStep(y, z.select(0, 1), rate);
      }
      Golden.assertClose("losses", io.read("losses").toDoubleArray(), losses, 1e-4);
      Map<String, Tensor> state = gan.stateDict();
      Set<String> names = names(io, "final.");
      assertEquals(names, new TreeSet<>(state.keySet()));
      for (String name : names) {
        Golden.assertClose("final " + name, io.read("final." + name), state.get(name), 2e-3);
      }
      Tensor sample = gan.generator().call(io.read("z").select(0, 0).select(0, 0), labels(io, 0));
      Golden.assertClose("sample", io.read("sample"), sample, 1e-3);
    }
  }

  private static void compare(
      String which, String prefix, Module network, Autograd.Result result, SafeTensors io) {
    Golden.assertClose(which + "_loss", io.read(which + "_loss"), result.value(), 1e-5);
    Set<String> names = names(io, which + "_grad.");
    assertEquals(names.size(), network.parameters().size());
    // Before a batch normalisation, gradients of a channel's sum are zero but for rounding.
    double largest = 0;
    for (String name : names) {
      for (double v : io.read(which + "_grad." + name).toDoubleArray()) {
        largest = Math.max(largest, Math.abs(v));
      }
    }
    for (Parameter p : network.parameters()) {
      String name = which + "_grad." + p.name().substring(prefix.length());
      Tensor gradient = result.gradients().get(p);
      assertNotNull(gradient, name);
      Golden.assertClose(
          name, io.read(name).toDoubleArray(), gradient.toDoubleArray(), 2e-4, 1e-3 * largest);
    }
  }

  private static Set<String> names(SafeTensors io, String prefix) {
    Set<String> names = new TreeSet<>();
    for (String key : io.entries().keySet()) {
      if (key.startsWith(prefix)) {
        names.add(key.substring(prefix.length()));
      }
    }
    return names;
  }

  private static Tensor labels(SafeTensors io, int step) {
    return io.entries().containsKey("y") ? io.read("y").select(0, step) : null;
  }

  /** Batches that nobody asks for. */
  private static BatchLoader nothing(Gan gan) {
    var c = gan.config();
    var data =
        InMemoryImageDataset.of(
            new byte[c.pixels()],
            c.imageChannels(),
            c.height(),
            c.width(),
            new int[1],
            List.of("none"));
    return new BatchLoader(data, 1, 1, Rng.seed(0), Device.CPU);
  }

  /** Values of buffers, to go back to. */
  private static final class Buffers {
    static Map<String, Tensor> of(Module module) {
      var values = new java.util.TreeMap<String, Tensor>();
      module.buffers().forEach(p -> values.put(p.name(), p.value().add(0)));
      return values;
    }

    static void restore(Module module, Map<String, Tensor> values) {
      module
          .buffers()
          .forEach(p -> io.sfumato.tensor.ops.Updates.copy(p.value(), values.get(p.name())));
    }
  }

  @TestFactory
  Stream<DynamicTest> savedFolderIsTheSame() {
    return Golden.own("gan").map(f -> DynamicTest.dynamicTest(f.getFileName() + "", () -> same(f)));
  }

  private void same(Path folder) throws IOException {
    Path copy = Files.createDirectories(temporary.resolve(folder.getFileName().toString()));
    try (Gan gan = Gan.open(folder)) {
      gan.save(copy);
    }
    assertEquals(
        Files.readString(folder.resolve("config.json")),
        Files.readString(copy.resolve("config.json")));
    try (Scope scope = Scope.open();
        SafeTensors a = SafeTensors.open(folder.resolve("model.safetensors"));
        SafeTensors b = SafeTensors.open(copy.resolve("model.safetensors"))) {
      assertEquals(a.entries().keySet(), b.entries().keySet());
      for (String name : a.entries().keySet()) {
        assertEquals(a.read(name).spec(), b.read(name).spec());
        Golden.assertClose(name, a.read(name), b.read(name), 0);
      }
    }
  }
}
