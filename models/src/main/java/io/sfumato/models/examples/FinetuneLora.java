// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import static io.sfumato.models.cli.Program.require;
import static io.sfumato.models.cli.Program.say;

import io.sfumato.models.adapter.AdapterKind;
import io.sfumato.models.adapter.AdapterSet;
import io.sfumato.models.adapter.Loha;
import io.sfumato.models.adapter.Lokr;
import io.sfumato.models.adapter.Lora;
import io.sfumato.models.adapter.LoraPlus;
import io.sfumato.models.adapter.Targets;
import io.sfumato.models.cli.Checked;
import io.sfumato.models.cli.Problems;
import io.sfumato.models.cli.Program;
import io.sfumato.models.diffusion.LossOptions;
import io.sfumato.models.diffusion.Sampler;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.models.train.AdapterTrainer;
import io.sfumato.models.train.Batches;
import io.sfumato.models.train.DiffusionTrainer;
import io.sfumato.models.train.Interrupts;
import io.sfumato.models.train.TrainedModel;
import io.sfumato.models.train.TrainingRun;
import io.sfumato.models.train.UpdateOptions;
import io.sfumato.models.unet.UNet2D;
import io.sfumato.tensor.io.Weights;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/**
 * Teaches a finished model something new with an adapter: a diffusion model is trained on all
 * classes but one, then an adapter of less than a hundredth of its parameters on that one alone.
 * Draws all classes before and after, and shows that the model without its adapter is as before.
 */
@Command(
    name = "finetune-lora",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    showDefaultValues = true,
    description =
        "Trains a model on all classes but one, then an adapter on that one. Writes before/ and"
            + " after/ (samples), base/ (the model) and checkpoint/ (the adapter, as PEFT reads"
            + " it). --learning-rate, --schedule, --warm-up and --parameter-groups are the"
            + " adapter's.")
public final class FinetuneLora implements Callable<Integer>, Checked {
  /** What is attached. */
  enum Kind {
    lora,
    loha,
    lokr
  }

  private static final double ADAPTER_RATE = 5e-3;
  private static final int UNIT = 4;

  @Mixin private final ExampleOptions options = new ExampleOptions();

  @Option(
      names = "--kind",
      description = "lora, loha or lokr: ${COMPLETION-CANDIDATES}.",
      defaultValue = "lora")
  private Kind kind = Kind.lora;

  @Option(
      names = "--new-class",
      description = "Number of the class that the model sees in the second stage only.",
      defaultValue = "7")
  private int newClass;

  @Option(
      names = "--adapter-share",
      description = "Part of the time or steps that the adapter gets.",
      defaultValue = "0.3")
  private double adapterShare;

  @Option(
      names = "--lora-plus-ratio",
      description =
          "LoRA+: the learning rate of B by that of A, 1 or more, usually 2 to 16. The embedding"
              + " of classes learns at A's.")
  private @Nullable Double loraPlusRatio;

  @Mixin(name = "adapter")
  private final AdapterGroups groups = new AdapterGroups();

  @Mixin private final GuidedDraw drawing = new GuidedDraw(1.25);

  private FinetuneLora() {}

  /**
   * Runs the program and exits, as {@link TrainDdpm} does.
   *
   * @param args command-line options; see {@code --help}
   */
  public static void main(String[] args) {
    System.exit(run(args));
  }

  /** Runs the program and returns its exit code. */
  static int run(String... args) {
    return Program.run(new FinetuneLora(), args);
  }

  @Override
  public void check(Problems problems) {
    problems.require(
        adapterShare > 0 && adapterShare < 1,
        "--adapter-share must be between 0 and 1; got " + adapterShare);
    problems.require(
        loraPlusRatio == null || kind == Kind.lora,
        "--lora-plus-ratio is of --kind lora; " + kind + " has no A and B");
    problems.require(
        groups.isEmpty() || loraPlusRatio == null,
        "--lora-plus-ratio and --adapters exclude each other");
    problems.require(
        loraPlusRatio == null || !options.updating().hasGroups(),
        "--lora-plus-ratio and --parameter-groups exclude each other");
    problems.require(
        loraPlusRatio == null || loraPlusRatio >= 1,
        "--lora-plus-ratio must be 1 or more; got " + loraPlusRatio);
  }

  @Override
  public Integer call() {
    try (Workbench bench = options.open()) {
      require(
          newClass >= 0 && newClass < bench.classes(),
          "--new-class must be 0 to " + (bench.classes() - 1) + "; got " + newClass);
      String name = bench.images().classNames().get(newClass);
      Batches others = bench.data().loader(c -> c != newClass, UNIT);
      ExampleData.Held heldOthers = bench.data().held(c -> c != newClass, "a class but " + name);
      ExampleData.Held heldNew = bench.data().held(c -> c == newClass, name);
      UpdateOptions update =
          bench.recipe(DiffusionTrainer.UPDATE, 2e-3, 50).withoutGroups().update();
      Recipe recipe = Recipe.Own.COSINE.of(update, 2e-3, 50); // rates of options: the adapter's
      UNet2D model = model(bench);
      try (DiffusionTrainer trainer =
          new DiffusionTrainer(
              TrainedModel.of(model),
              TrainDdpm.scheduler(),
              LossOptions.PLAIN,
              recipe.update(),
              others,
              bench.rng("training"),
              null)) {
        say("training on all classes but %s", name);
        TrainingRun base = bench.stage("base", 1 - adapterShare);
        bench.preview(base, trainer, sampler(bench, trainer, others));
        if (!bench.train(base, trainer, recipe, model.config().toMap(), heldOthers)) {
          return Interrupts.EXIT_CODE;
        }
        return trainer.average(() -> adapt(bench, model, trainer, heldNew));
      }
    }
  }

  /** A new model, closed again if it does not go together with the options. */
  private UNet2D model(Workbench bench) {
    UNet2D model =
        new UNet2D(
            Weights.init(bench.rng("weights")).on(bench.device()),
            TrainDdpm.config(bench.images()));
    try {
      bench.describe(model.parameterCount());
      checkAdapter(bench, model);
      return model;
    } catch (RuntimeException | Error e) {
      model.close();
      throw e;
    }
  }

  private AdapterSet attach(Workbench bench, UNet2D model) {
    return AdapterSet.attach(model, targets(), this::adapterKind, bench.rng("adapter"));
  }

  /** Says what is wrong with the adapter before time is spent on the model. */
  private void checkAdapter(Workbench bench, UNet2D model) {
    try (AdapterSet adapter = attach(bench, model)) {
      groups.requireAllUsed(adapter.parts().keySet());
      Recipe recipe = bench.recipe(AdapterTrainer.UPDATE, ADAPTER_RATE, 20);
      recipe.update().groups().groups(adapter.parameters());
    }
  }

  private int adapt(
      Workbench bench, UNet2D model, DiffusionTrainer trainer, ExampleData.@Nullable Held held) {
    Path before = bench.out().resolve("before");
    Batches loader = bench.data().loader(c -> c == newClass, UNIT);
    Recipe recipe = bench.recipe(AdapterTrainer.UPDATE, ADAPTER_RATE, 20);
    if (!sample(bench, before, trainer, loader)) {
      return Interrupts.EXIT_CODE;
    }
    try (AdapterSet adapter = attach(bench, model);
        AdapterTrainer tuner = tuner(bench, recipe, adapter, trainer, loader)) {
      say(
          "%s of %,d parameters in %d layers, %.2f %% of the model's, learns %s",
          groups.isEmpty() ? kind : groups,
          adapter.parameterCount(),
          adapter.parts().size(),
          100.0 * adapter.parameterCount() / model.parameterCount(),
          bench.images().classNames().get(newClass));
      TrainingRun run = bench.lastStage(adapterShare);
      bench.preview(run, tuner, sampler(bench, trainer, loader));
      if (!bench.train(run, tuner, recipe, settings(), held)) {
        return Interrupts.EXIT_CODE;
      }
      Path off = bench.out().resolve("off");
      if (!tuner.average(() -> sample(bench, bench.out().resolve("after"), trainer, loader))
          || !adapter.without(() -> sample(bench, off, trainer, loader))) {
        return Interrupts.EXIT_CODE;
      }
      if (!bench.leads()) {
        return 0; // rank 0 looks at what it has drawn
      }
      boolean same = sameBytes(before, off);
      say("without the adapter the samples are %s as before", same ? "bit for bit" : "NOT");
      say(
          "the model takes %,d bytes, the adapter %,d",
          bytes(bench.out().resolve("base/checkpoint/unet/diffusion_pytorch_model.safetensors")),
          bytes(bench.out().resolve("checkpoint/" + AdapterTrainer.fileOf(adapter))));
      say("wrote before, after, off, base, loss.png, loss.csv and checkpoint to %s", bench.out());
      return same ? 0 : 1;
    }
  }

  private AdapterTrainer tuner(
      Workbench bench,
      Recipe recipe,
      AdapterSet adapter,
      DiffusionTrainer trainer,
      Batches loader) {
    UpdateOptions how = recipe.update();
    if (loraPlusRatio == null) {
      return new AdapterTrainer(adapter, trainer.denoiser(), how, loader, bench.rng("tuning"));
    }
    LoraPlus plus = LoraPlus.ratio(loraPlusRatio).embeddingRate(ADAPTER_RATE);
    return new AdapterTrainer(
        adapter, trainer.denoiser(), how, loader, bench.rng("tuning"), plus, ADAPTER_RATE);
  }

  /** What a run that goes on must have in common with the one before. */
  private String settings() {
    if (!groups.isEmpty()) {
      return groups.toString();
    }
    return loraPlusRatio == null
        ? adapterKind().toString()
        : adapterKind() + ", LoRA+ " + loraPlusRatio;
  }

  private AdapterKind adapterKind(WeightLayer layer) {
    return groups.isEmpty() ? adapterKind() : groups.kindOf(layer);
  }

  /** Small enough for less than a hundredth of the parameters of the U-Net. */
  private AdapterKind adapterKind() {
    return switch (kind) {
      case lora -> Lora.rank(1).alpha(2);
      case loha -> Loha.rank(1).alpha(2);
      case lokr -> Lokr.rank(1).alpha(2);
    };
  }

  private Predicate<String> targets() {
    if (!groups.isEmpty()) {
      return groups.targets();
    }
    return switch (kind) {
      case lora ->
          Targets.glob(
              "**.to_*",
              "**.to_out.0",
              "**.time_emb_proj",
              "class_embedding",
              "up_blocks.**.conv2");
      case loha -> Targets.glob("**.to_*", "**.to_out.0", "**.time_emb_proj");
      case lokr -> path -> !path.equals("class_embedding");
    };
  }

  private boolean sample(Workbench bench, Path folder, DiffusionTrainer trainer, Batches loader) {
    return bench.sample(folder, drawing.steps(), sampler(bench, trainer, loader));
  }

  private Workbench.Sampler sampler(Workbench bench, DiffusionTrainer trainer, Batches loader) {
    Sampler sampler = Sampler.of(TrainDdpm.scheduler());
    return drawing.sampler(
        bench, trainer, loader, p -> TrainDdpm.draw(sampler, drawing.steps(), p));
  }

  private static boolean sameBytes(Path one, Path two) {
    try {
      return Files.mismatch(one.resolve("samples.safetensors"), two.resolve("samples.safetensors"))
          == -1;
    } catch (IOException e) {
      throw new UncheckedIOException("the samples cannot be read again", e);
    }
  }

  private static long bytes(Path file) {
    try {
      return Files.size(file);
    } catch (IOException e) {
      throw new UncheckedIOException(file + ": cannot be read", e);
    }
  }
}
