// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import io.sfumato.autograd.optim.AdamOptions;
import io.sfumato.autograd.optim.Ema;
import io.sfumato.autograd.optim.ScheduleKind;
import io.sfumato.models.cli.Problems;
import io.sfumato.models.cli.Settings;
import io.sfumato.models.train.GroupRules;
import io.sfumato.models.train.LearningRate;
import io.sfumato.models.train.OptimizerKind;
import io.sfumato.models.train.Precision;
import io.sfumato.models.train.UpdateOptions;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Option;

/** Options of how steps are made; what is absent is as the program has it. */
final class UpdateFlags {
  @Option(names = "--learning-rate", description = "The highest learning rate of all stages.")
  private @Nullable Double learningRate;

  @Option(
      names = "--schedule",
      description =
          "Of the learning rate: constant, constant_with_warmup, linear, cosine,"
              + " cosine_with_restarts or polynomial; the program's own cosine if absent.")
  private @Nullable String schedule;

  @Option(names = "--warm-up", description = "Steps in which the learning rate rises.")
  private @Nullable Integer warmUp;

  @Option(names = "--cycles", description = "Of cosine_with_restarts.", defaultValue = "1")
  private int cycles = 1;

  @Option(names = "--power", description = "Of polynomial.", defaultValue = "1")
  private double power = 1;

  @Option(names = "--optimizer", description = "adam, adamw or adamw8bit.")
  private @Nullable String optimizer;

  @Option(
      names = "--parameter-groups",
      paramLabel = "match=…",
      converter = GroupConverter.class,
      description =
          "Parameters with numbers of their own, match=down_blocks.**|mid_block.**,"
              + "learning_rate=1e-5,weight_decay=0; repeatable, the first that fits counts.")
  private List<Settings> groups = List.of();

  @Option(names = "--beta1", description = "Decay of the optimizer's mean gradient.")
  private @Nullable Double beta1;

  @Option(names = "--beta2", description = "Decay of its mean squared gradient.")
  private @Nullable Double beta2;

  @Option(names = "--weight-decay", description = "Of the optimizer.")
  private @Nullable Double weightDecay;

  @Option(
      names = "--accumulate",
      description = "Batches whose mean gradient makes one step.",
      defaultValue = "1")
  private int accumulate = 1;

  @Option(names = "--clip-norm", description = "The gradients' largest norm; 0 for any.")
  private @Nullable Double clipNorm;

  @Option(
      names = "--precision",
      description = "Of products in training: f32, bf16 or f16 (with a loss scale).",
      defaultValue = "f32")
  private String precision = "f32";

  @Option(
      names = "--cuda-graph",
      description =
          "Record forward and backward of a step as a CUDA graph, which spares small models most of"
              + " the time of launching kernels. Of ddpm, dit and flow.")
  private boolean graph;

  @Option(names = "--ema-decay", description = "Of averaged weights; 0 for none.")
  private @Nullable Double emaDecay;

  @Option(
      names = "--ema-power",
      description = "The averages' decay grows as 1 - (1 + step)^-power, 2/3 for long runs.")
  private @Nullable Double emaPower;

  /**
   * Checks the options together.
   *
   * @param wrong is told of each that is wrong
   * @param steps of the run, or null for a time
   */
  void check(Problems wrong, @Nullable Integer steps) {
    wrong.require(learningRate == null || learningRate > 0, "--learning-rate must be positive");
    wrong.require(warmUp == null || warmUp >= 0, "--warm-up must not be negative");
    wrong.require(
        warmUp == null || steps == null || warmUp < steps, "--warm-up must be below --steps");
    wrong.require(
        learningRate != null || groups.stream().allMatch(g -> g.real("learning_rate") == null),
        "--parameter-groups with a learning_rate need --learning-rate, which theirs are compared"
            + " with");
    wrong.require(cycles > 0, "--cycles must be positive");
    wrong.require(power > 0, "--power must be positive");
    wrong.require(fraction(beta1), "--beta1 must be in [0, 1)");
    wrong.require(fraction(beta2), "--beta2 must be in [0, 1)");
    wrong.require(weightDecay == null || weightDecay >= 0, "--weight-decay must not be negative");
    wrong.require(accumulate > 0, "--accumulate must be positive");
    wrong.require(clipNorm == null || clipNorm >= 0, "--clip-norm must not be negative");
    wrong.require(
        emaDecay == null || (emaDecay >= 0 && emaDecay <= 1), "--ema-decay must be 0 to 1");
    wrong.require(emaPower == null || emaPower > 0, "--ema-power must be positive");
    wrong.require(
        !graph || accumulate == 1,
        "--cuda-graph: a recorded step has one batch; --accumulate " + accumulate + " has more");
    wrong.require(
        !graph || !precision.equals("f16"),
        "--cuda-graph: the loss scale of --precision f16 changes; bf16 has none");
    wrong.attempt("--precision", () -> Precision.parse(precision));
    if (optimizer != null) {
      String name = optimizer;
      wrong.attempt("--optimizer", () -> OptimizerKind.parse(name));
    }
    if (schedule != null) {
      String name = schedule;
      wrong.attempt("--schedule", () -> ScheduleKind.parse(name));
    }
    wrong.require(
        !"constant".equals(schedule) || warmUp == null || warmUp == 0,
        "--schedule constant has no --warm-up; constant_with_warmup has");
  }

  /** Reads one of {@code --parameter-groups}. */
  static final class GroupConverter implements ITypeConverter<Settings> {
    @Override
    public Settings convert(String value) {
      Settings settings = Settings.parse(value, Set.of("match", "learning_rate", "weight_decay"));
      rule(settings);
      return settings;
    }
  }

  private static GroupRules.Rule rule(Settings settings) {
    return new GroupRules.Rule(
        settings.list("match"), settings.real("learning_rate"), settings.real("weight_decay"));
  }

  /** Whether steps are recorded. */
  boolean graph() {
    return graph;
  }

  /** Whether parameters have numbers of their own. */
  boolean hasGroups() {
    return !groups.isEmpty();
  }

  private GroupRules rules() {
    return new GroupRules(groups.stream().map(UpdateFlags::rule).toList(), learningRate);
  }

  private static boolean fraction(@Nullable Double value) {
    return value == null || (value >= 0 && value < 1);
  }

  private UpdateOptions apply(UpdateOptions own) {
    AdamOptions adam = own.adamOptions();
    adam =
        adam.betas(beta1 == null ? adam.beta1() : beta1, beta2 == null ? adam.beta2() : beta2)
            .weightDecay(weightDecay == null ? adam.weightDecay() : weightDecay);
    Double limit = clipNorm == null ? own.clipNorm() : clipNorm == 0 ? null : clipNorm;
    return own.optimizer(optimizer == null ? own.optimizer() : OptimizerKind.parse(optimizer))
        .adamOptions(adam)
        .accumulate(accumulate)
        .clipNorm(limit)
        .precision(Precision.parse(precision))
        .graph(graph)
        .groups(groups.isEmpty() ? own.groups() : rules())
        .ema(averages(own.ema()));
  }

  private Ema.@Nullable Options averages(Ema.@Nullable Options own) {
    if (emaDecay != null && emaDecay == 0) {
      return null;
    }
    if (own == null && emaDecay == null && emaPower == null) {
      return null;
    }
    Ema.Options options = own == null ? Ema.options() : own;
    options = emaDecay == null ? options : options.decay(emaDecay);
    return emaPower == null ? options : options.warmup(1, emaPower);
  }

  /**
   * How a stage of a program learns.
   *
   * @param own the program's steps
   * @param peak the program's highest rate
   * @param warmUpSteps the program's warm-up
   * @param schedules the program's schedule
   */
  Recipe recipe(UpdateOptions own, double peak, int warmUpSteps, Recipe.Own schedules) {
    UpdateOptions update = apply(own);
    double highest = learningRate == null ? peak : learningRate;
    if (schedule == null) {
      return schedules.of(update, highest, warmUp == null ? warmUpSteps : warmUp);
    }
    ScheduleKind kind = ScheduleKind.parse(schedule);
    int rising = warmUp == null ? 0 : warmUp;
    ScheduleKind.Shape shape = new ScheduleKind.Shape(rising, cycles, power);
    String name =
        switch (kind) {
          case COSINE_WITH_RESTARTS -> schedule + ", " + cycles + " cycles";
          case POLYNOMIAL -> schedule + ", power " + power;
          default -> schedule;
        };
    return new Recipe(
        update, highest, rising, name, steps -> LearningRate.of(kind, shape, highest, steps));
  }
}
