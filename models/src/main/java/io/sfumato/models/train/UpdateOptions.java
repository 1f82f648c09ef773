// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.autograd.optim.Adam;
import io.sfumato.autograd.optim.AdamOptions;
import io.sfumato.autograd.optim.AdamW;
import io.sfumato.autograd.optim.Ema;
import io.sfumato.autograd.optim.LossScale;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * How an {@link Update} makes a step of gradients.
 *
 * @param optimizer what changes the parameters
 * @param adamOptions its betas, ε and weight decay; the learning rate comes with each step
 * @param accumulate micro-batches whose mean gradient makes one step
 * @param clipNorm the largest norm of all gradients together that is let through; null if any
 * @param precision the types of the model's products
 * @param lossScale how the loss scale of F16 adapts itself
 * @param ema averages of the parameters; null for none
 * @param groups parameters with numbers of their own
 * @param exchange what several processes do together
 * @param graph whether forward and backward are recorded and replayed, on CUDA as one graph
 */
public record UpdateOptions(
    OptimizerKind optimizer,
    AdamOptions adamOptions,
    int accumulate,
    @Nullable Double clipNorm,
    Precision precision,
    LossScale.Options lossScale,
    Ema.@Nullable Options ema,
    GroupRules groups,
    GradientExchange exchange,
    boolean graph) {
  /** Checks the numbers together. */
  public UpdateOptions {
    StringBuilder wrong = new StringBuilder();
    if (accumulate < 1) {
      wrong.append("; micro-batches per step must be 1 at least, got ").append(accumulate);
    }
    if (clipNorm != null && !(clipNorm > 0)) {
      wrong.append("; the largest norm must be positive, got ").append(clipNorm);
    }
    if (graph && accumulate > 1) {
      wrong.append("; a recorded step has one batch, got micro-batches: ").append(accumulate);
    }
    if (graph && precision == Precision.F16) {
      wrong.append("; the loss scale of f16 changes, which a recorded step cannot; bf16 has none");
    }
    if (graph && exchange != GradientExchange.NONE) {
      wrong.append("; a recorded step is that of one process");
    }
    if (!wrong.isEmpty()) {
      throw new IllegalArgumentException("update:" + wrong.substring(1));
    }
  }

  /** AdamW as PyTorch has it, in F32, batch by batch, without limit and averages. */
  public static UpdateOptions adamW() {
    return of(OptimizerKind.ADAMW, AdamW.options());
  }

  /** The same with Adam. */
  public static UpdateOptions adam() {
    return of(OptimizerKind.ADAM, Adam.options());
  }

  private static UpdateOptions of(OptimizerKind kind, AdamOptions options) {
    return new UpdateOptions(
        kind,
        options,
        1,
        null,
        Precision.F32,
        LossScale.Options.DEFAULT,
        null,
        GroupRules.NONE,
        GradientExchange.NONE,
        false);
  }

  /** Another optimiser. */
  public UpdateOptions optimizer(OptimizerKind kind) {
    return new UpdateOptions(
        kind,
        adamOptions,
        accumulate,
        clipNorm,
        precision,
        lossScale,
        ema,
        groups,
        exchange,
        graph);
  }

  /** Other betas, ε and weight decay. */
  public UpdateOptions adamOptions(AdamOptions options) {
    return new UpdateOptions(
        optimizer,
        options,
        accumulate,
        clipNorm,
        precision,
        lossScale,
        ema,
        groups,
        exchange,
        graph);
  }

  /** Another number of micro-batches per step. */
  public UpdateOptions accumulate(int count) {
    return new UpdateOptions(
        optimizer,
        adamOptions,
        count,
        clipNorm,
        precision,
        lossScale,
        ema,
        groups,
        exchange,
        graph);
  }

  /** Another limit of the gradients' norm; null for none. */
  public UpdateOptions clipNorm(@Nullable Double norm) {
    return new UpdateOptions(
        optimizer,
        adamOptions,
        accumulate,
        norm,
        precision,
        lossScale,
        ema,
        groups,
        exchange,
        graph);
  }

  /** Another precision. */
  public UpdateOptions precision(Precision types) {
    return new UpdateOptions(
        optimizer,
        adamOptions,
        accumulate,
        clipNorm,
        types,
        lossScale,
        ema,
        groups,
        exchange,
        graph);
  }

  /** Another way of the loss scale. */
  public UpdateOptions lossScale(LossScale.Options options) {
    return new UpdateOptions(
        optimizer,
        adamOptions,
        accumulate,
        clipNorm,
        precision,
        options,
        ema,
        groups,
        exchange,
        graph);
  }

  /** Other averages, or none. */
  public UpdateOptions ema(Ema.@Nullable Options options) {
    return new UpdateOptions(
        optimizer,
        adamOptions,
        accumulate,
        clipNorm,
        precision,
        lossScale,
        options,
        groups,
        exchange,
        graph);
  }

  /** Other groups of parameters. */
  public UpdateOptions groups(GroupRules rules) {
    return new UpdateOptions(
        optimizer,
        adamOptions,
        accumulate,
        clipNorm,
        precision,
        lossScale,
        ema,
        rules,
        exchange,
        graph);
  }

  /** With other processes. */
  public UpdateOptions exchange(GradientExchange with) {
    return new UpdateOptions(
        optimizer,
        adamOptions,
        accumulate,
        clipNorm,
        precision,
        lossScale,
        ema,
        groups,
        with,
        graph);
  }

  /** With forward and backward as recorded work, or without. */
  public UpdateOptions graph(boolean recorded) {
    return new UpdateOptions(
        optimizer,
        adamOptions,
        accumulate,
        clipNorm,
        precision,
        lossScale,
        ema,
        groups,
        exchange,
        recorded);
  }

  /** The values in words, by option: what must be equal for a run to go on. */
  public Map<String, String> settings() {
    Map<String, String> settings = new TreeMap<>();
    settings.put("optimizer", optimizer.label());
    settings.put("betas", adamOptions.beta1() + "," + adamOptions.beta2());
    settings.put("weight_decay", Double.toString(adamOptions.weightDecay()));
    settings.put("accumulate", Integer.toString(accumulate));
    settings.put("clip_norm", clipNorm == null ? "none" : clipNorm.toString());
    settings.put("precision", precision.name().toLowerCase(Locale.ROOT));
    settings.put("ema", ema == null ? "none" : text(ema));
    settings.put("parameter_groups", groups.rules().isEmpty() ? "none" : groups.text());
    return settings;
  }

  private static String text(Ema.Options ema) {
    return ema.decay()
        + (ema.warmup() ? ", power " + ema.power() + ", inverse gamma " + ema.inverseGamma() : "")
        + (ema.minDecay() > 0 ? ", at least " + ema.minDecay() : "")
        + (ema.updateAfter() > 0 ? ", copies up to step " + ema.updateAfter() : "");
  }
}
