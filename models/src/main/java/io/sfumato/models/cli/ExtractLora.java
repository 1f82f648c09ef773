// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.cli;

import static io.sfumato.models.cli.Program.require;
import static io.sfumato.models.cli.Program.say;

import io.sfumato.models.adapter.AdapterSet;
import io.sfumato.models.adapter.LayerAdapter;
import io.sfumato.models.adapter.Lora;
import io.sfumato.models.adapter.LoraTools;
import io.sfumato.models.adapter.Targets;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Num;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.IntSummaryStatistics;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.function.Predicate;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/**
 * Takes a LoRA from the difference of two checkpoints, or brings an adapter of any additive kind to
 * another rank. Says how much of the change it holds, and what it cannot.
 */
@Command(
    name = "extract-lora",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    showDefaultValues = true,
    description =
        "Writes a LoRA that turns --base into --tuned, or --adapter at another rank; of a --rank,"
            + " or as small as a share of the change's --energy allows.")
public final class ExtractLora implements Callable<Integer> {
  @Mixin private final BaseModel base = new BaseModel();

  @Option(names = "--tuned", description = "The same model after training.")
  private @Nullable Path tuned;

  @Option(names = "--adapter", description = "Instead of --tuned, an adapter to bring to a rank.")
  private @Nullable Path adapter;

  @Mixin private final RankOptions rank = new RankOptions();

  @Option(
      names = "--targets",
      paramLabel = "GLOB",
      description = "Which layers, repeatable: \"**.attn*.**\"; all if absent. Of --tuned.")
  private List<String> targets = List.of();

  @Mixin private final AdapterOutput output = new AdapterOutput();

  private ExtractLora() {}

  /**
   * Runs the program and exits: 0 when done, 1 after a failure, 2 after wrong options or input.
   *
   * @param args command-line options; see {@code --help}
   */
  public static void main(String[] args) {
    System.exit(run(args));
  }

  /** Runs the program and returns its exit code. */
  static int run(String... args) {
    return Program.run(new ExtractLora(), args);
  }

  /** Layers, ranks and size of a LoRA. */
  static String describe(AdapterSet lora) {
    IntSummaryStatistics ranks =
        lora.kinds().values().stream()
            .mapToInt(kind -> kind instanceof Lora l ? l.rank() : 0)
            .summaryStatistics();
    return String.format(
        "%d layers, rank %s, %,d parameters",
        lora.parts().size(),
        ranks.getMin() == ranks.getMax()
            ? ranks.getMin()
            : ranks.getMin() + " to " + ranks.getMax(),
        lora.parameterCount());
  }

  @Override
  public Integer call() {
    LoraTools.Rank choice = rank.choice();
    require((tuned == null) != (adapter == null), "--tuned or --adapter is needed, one of them");
    require(tuned != null || targets.isEmpty(), "--targets is of --tuned");
    output.requireNot(base.path());
    output.dtype(); // checks it
    try (Scope scope = Scope.open();
        AdapterModel model = base.open()) {
      if (tuned != null) {
        output.requireNot(tuned);
        return extract(model, tuned, choice);
      }
      return adapter == null ? 2 : resize(model, adapter, choice);
    }
  }

  private int extract(AdapterModel model, Path from, LoraTools.Rank choice) {
    Predicate<String> meant =
        targets.isEmpty() ? Targets.all() : Targets.glob(targets.toArray(String[]::new));
    try (AdapterModel other = base.open(from);
        AdapterSet found = LoraTools.extract(model.module(), other.module(), meant, choice)) {
      Map<String, Tensor> wanted = other.module().stateDict();
      report(found, path -> tensor(wanted, path + ".weight"));
      sayWhatIsLeftOut(model.module(), found, wanted);
      say("wrote it to %s", output.write(model, found));
      return 0;
    }
  }

  private int resize(AdapterModel model, Path from, LoraTools.Rank choice) {
    require(Files.exists(from), "--adapter " + from + ": there is no such adapter");
    output.requireNot(from);
    try (AdapterSet before = model.attach(from);
        AdapterSet after = LoraTools.resize(model.module(), before, choice)) {
      report(
          after,
          path -> {
            LayerAdapter part = before.parts().get(path);
            if (part == null) {
              throw new IllegalStateException(path + ": was not there before");
            }
            return part.merged(wide(part.layer().weight().value()), 1);
          });
      say("wrote it to %s", output.write(model, after));
      return 0;
    }
  }

  /** Where a tensor of the same name is read from. */
  private interface Wanted {
    /**
     * The weight that the adapter should give.
     *
     * @param path the layer's
     */
    Tensor weight(String path);
  }

  /** Measures how near the adapted weights are to those wanted. */
  private static void report(AdapterSet lora, Wanted wanted) {
    double change = 0;
    double rest = 0;
    for (Map.Entry<String, LayerAdapter> e : lora.parts().entrySet()) {
      try (Scope scope = Scope.open()) {
        Tensor before = wide(e.getValue().layer().weight().value());
        Tensor goal = wide(wanted.weight(e.getKey()));
        change += Num.sum(Num.square(goal.sub(before))).item();
        rest += Num.sum(Num.square(goal.sub(e.getValue().merged(before, 1)))).item();
      }
    }
    say(
        "LoRA of %s holds %.2f %% of the change's energy in these layers",
        describe(lora), change == 0 ? 100.0 : 100 * (1 - rest / change));
  }

  /** Biases, norms and layers that are not meant may differ as well. */
  private void sayWhatIsLeftOut(Module model, AdapterSet found, Map<String, Tensor> tuned) {
    List<String> left = new ArrayList<>();
    UnaryOperator<String> layerOf = name -> name.replaceFirst("\\.weight$", "");
    model
        .stateDict()
        .forEach(
            (name, value) -> {
              if (found.parts().containsKey(layerOf.apply(name))) {
                return;
              }
              try (Scope scope = Scope.open()) {
                Tensor other = tensor(tuned, name);
                if (Num.max(Num.abs(wide(other).sub(wide(value)))).item() != 0) {
                  left.add(name);
                }
              }
            });
    if (!left.isEmpty()) {
      say(
          "%d tensors differ that the LoRA does not hold: %s%s",
          left.size(),
          String.join(", ", left.subList(0, Math.min(5, left.size()))),
          left.size() > 5 ? ", …" : "");
    }
  }

  private static Tensor tensor(Map<String, Tensor> tensors, String name) {
    Tensor value = tensors.get(name);
    if (value == null) {
      throw new IllegalArgumentException("--tuned has no tensor " + name);
    }
    return value;
  }

  private static Tensor wide(Tensor x) {
    return x.dtype() == DType.F64 ? x : x.to(DType.F32);
  }
}
