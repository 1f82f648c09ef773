// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import io.sfumato.models.cli.Problems;
import io.sfumato.models.train.TrainingRun;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** Options of what a run measures, draws and does when numbers are not finite. */
final class RunFlags {
  @Option(
      names = "--validation-steps",
      description =
          "Steps from one validation loss to the next; the best model stays in checkpoint-best/.")
  private @Nullable Integer validationSteps;

  @Option(
      names = "--validation-share",
      description = "Share of the pictures that --validation-steps holds out.",
      defaultValue = "0.05")
  private double validationShare = 0.05;

  @Option(
      names = "--validation-batches",
      description = "Batches of a validation, at most.",
      defaultValue = "8")
  private int validationBatches = 8;

  @Option(
      names = "--preview-steps",
      description = "Steps from one picture in previews/ to the next.")
  private @Nullable Integer previewSteps;

  @Option(
      names = "--profile",
      description = "Steps whose time by module is written to profile.json.",
      defaultValue = "0")
  private int profile;

  @Option(
      names = "--on-nan",
      description = "When a loss is not finite: stop, or skip the step.",
      defaultValue = "stop")
  private String onNan = "stop";

  @Option(
      names = "--nan-limit",
      description = "Steps in a row that --on-nan skip may leave out.",
      defaultValue = "5")
  private int nanLimit = 5;

  @Option(
      names = "--synchronous-checkpoints",
      description = "Let training wait until a checkpoint is on disk; saves a copy of its state.")
  private boolean synchronous;

  @Option(
      names = "--memory-check",
      negatable = true,
      fallbackValue = "true",
      defaultValue = "true",
      description =
          "Estimate the memory of a step before the first one, and refuse what cannot fit.")
  private boolean memoryCheck = true;

  /** Says what is wrong with the options. */
  void check(Problems wrong) {
    wrong.require(
        validationShare > 0 && validationShare < 1,
        "--validation-share must be between 0 and 1; got " + validationShare);
    wrong.require(
        validationBatches > 0, "--validation-batches must be positive; got " + validationBatches);
    wrong.require(
        onNan.equals("stop") || onNan.equals("skip"),
        "--on-nan must be stop or skip; got " + onNan);
  }

  TrainingRun.Watching watching(boolean events) {
    return new TrainingRun.Watching(validationSteps, previewSteps, profile, events);
  }

  TrainingRun.OnNan onNan() {
    return new TrainingRun.OnNan(onNan.equals("skip"), nanLimit);
  }

  boolean asynchronous() {
    return !synchronous;
  }

  boolean memoryCheck() {
    return memoryCheck;
  }

  /** Whether steps are traced. */
  boolean profiles() {
    return profile > 0;
  }

  /** Whether pictures are held out. */
  boolean validates() {
    return validationSteps != null;
  }

  double validationShare() {
    return validationShare;
  }

  /** Batches of a validation on some pictures. */
  int validationBatches(int pictures, int batch) {
    return Math.clamp(pictures / batch, 1, validationBatches);
  }

  /** What must be equal for a run to go on: which pictures it learns from. */
  Map<String, String> settings() {
    return Map.of("held_out", validates() ? Double.toString(validationShare) : "none");
  }
}
