// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.cli;

import static io.sfumato.models.cli.Program.require;
import static io.sfumato.models.cli.Program.say;

import io.sfumato.models.adapter.AdapterSet;
import io.sfumato.models.adapter.LoraTools;
import io.sfumato.models.adapter.Targets;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/**
 * Merges adapters into their model's checkpoint, or several into one adapter.
 *
 * <p>The merged weights are computed in f32 and rounded once to the checkpoint's type.
 */
@Command(
    name = "merge-adapters",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    showDefaultValues = true,
    description =
        "Writes the checkpoint of a model with adapters merged into it or, with --method, one"
            + " adapter made of several. Adapters are PEFT's folders, or safetensors files in any"
            + " dialect.")
public final class MergeAdapters implements Callable<Integer> {
  /** How several adapters become one. */
  enum Method {
    linear,
    cat,
    svd,
    ties,
    dare
  }

  @Parameters(
      paramLabel = "ADAPTER[@STRENGTH]",
      arity = "1..*",
      description = "Adapters with their strengths, 1 if absent: style.safetensors@0.7.")
  private List<String> adapters = List.of();

  @Mixin private final BaseModel base = new BaseModel();

  @Option(
      names = "--method",
      description =
          "Make one adapter instead of a checkpoint: ${COMPLETION-CANDIDATES}. linear adds factors"
              + " (equal ranks), cat stacks them (exactly the sum), the others bring the sum to"
              + " --rank, ties and dare after thinning it out.")
  private @Nullable Method method;

  @Mixin private final RankOptions rank = new RankOptions();

  @Option(
      names = "--layers",
      paramLabel = "GLOB=FACTOR",
      description =
          "A factor for some layers of all adapters, repeatable: \"down_blocks.0.**=0.5\"; the"
              + " first that fits counts. Of merging into a checkpoint.")
  private Map<String, Double> layers = Map.of();

  @Option(names = "--seed", description = "Seed of dare.", defaultValue = "0")
  private long seed;

  @Mixin private final AdapterOutput output = new AdapterOutput();

  private MergeAdapters() {}

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
    return Program.run(new MergeAdapters(), args);
  }

  /**
   * An adapter as it is named on the command line.
   *
   * @param path its file or folder
   * @param strength the factor of its change
   */
  private record Named(Path path, double strength) {
    static Named of(String text) {
      int at = text.lastIndexOf('@');
      if (at < 0 || Files.exists(Path.of(text))) {
        return new Named(Path.of(text), 1);
      }
      double strength;
      try {
        strength = Double.parseDouble(text.substring(at + 1));
      } catch (NumberFormatException e) {
        throw new IllegalArgumentException(
            text + ": behind @ must be a strength; got " + text.substring(at + 1), e);
      }
      return new Named(Path.of(text.substring(0, at)), strength);
    }
  }

  @Override
  public Integer call() {
    List<Named> named = adapters.stream().map(Named::of).toList();
    for (Named adapter : named) {
      require(Files.exists(adapter.path), adapter.path + ": there is no such adapter");
      require(
          Double.isFinite(adapter.strength),
          adapter.path + ": the strength must be finite; got " + adapter.strength);
      output.requireNot(adapter.path);
    }
    output.requireNot(base.path());
    output.dtype(); // checks it
    boolean ranked = method != null && method != Method.linear && method != Method.cat;
    require(ranked || !rank.isGiven(), "--rank and --energy are of --method svd, ties and dare");
    require(
        method == null || layers.isEmpty(),
        "--layers is of merging into a checkpoint, without --method");
    LoraTools.Rank choice = ranked ? rank.choice() : LoraTools.Rank.of(1);
    List<AdapterSet> sets = new ArrayList<>();
    try (Scope scope = Scope.open();
        AdapterModel model = base.open()) {
      output.requireNot(base.path().resolve(model.component().dotted()));
      try {
        for (Named adapter : named) {
          sets.add(model.attach(adapter.path));
        }
        if (method == null) {
          merge(model, named, sets);
        } else {
          combine(model, named, sets, method, choice);
        }
      } finally {
        sets.forEach(AdapterSet::close);
      }
    }
    return 0;
  }

  private void merge(AdapterModel model, List<Named> named, List<AdapterSet> sets) {
    for (int i = 0; i < sets.size(); i++) {
      AdapterSet set = sets.get(i);
      set.setStrength(named.get(i).strength);
      set.setStrengths(this::factor);
    }
    for (Map.Entry<String, Double> e : layers.entrySet()) {
      Predicate<String> fits = Targets.glob(e.getKey());
      require(
          sets.stream().anyMatch(s -> s.parts().keySet().stream().anyMatch(fits)),
          "--layers " + e.getKey() + " fits no layer of the adapters");
    }
    for (int i = 0; i < sets.size(); i++) {
      sets.get(i).merge();
      say(
          "merged %s at strength %s into %d layers",
          named.get(i).path, named.get(i).strength, sets.get(i).parts().size());
    }
    Path folder = output.folder();
    model.save().accept(folder);
    say("wrote the merged model to %s", folder);
  }

  private double factor(String path) {
    return layers.entrySet().stream()
        .filter(e -> Targets.glob(e.getKey()).test(path))
        .mapToDouble(Map.Entry::getValue)
        .findFirst()
        .orElse(1);
  }

  private void combine(
      AdapterModel model, List<Named> named, List<AdapterSet> sets, Method how, LoraTools.Rank r) {
    LoraTools.Method chosen =
        switch (how) {
          case linear -> LoraTools.Method.LINEAR;
          case cat -> LoraTools.Method.CAT;
          case svd -> LoraTools.Method.SVD;
          case ties -> LoraTools.Method.TIES;
          case dare -> LoraTools.Method.DARE;
        };
    List<Double> weights = named.stream().map(Named::strength).toList();
    try (AdapterSet one =
        LoraTools.combine(model.module(), sets, weights, chosen, r, Rng.seed(seed))) {
      say("made one adapter of %d by %s: %s", sets.size(), how, ExtractLora.describe(one));
      say("wrote it to %s", output.write(model, one));
    }
  }
}
