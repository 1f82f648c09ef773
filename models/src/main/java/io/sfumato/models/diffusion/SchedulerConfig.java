// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import com.fasterxml.jackson.databind.JsonNode;
import io.sfumato.models.nn.ModelConfig;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The configuration of diffusers' DDPMScheduler and DDIMScheduler ({@code scheduler_config.json}):
 * the noise schedule, what the network predicts, and how its x₀ is limited.
 *
 * @param className {@code DDPMScheduler} or {@code DDIMScheduler}
 * @param numTrainTimesteps T
 * @param betaStart first β
 * @param betaEnd last β
 * @param betaSchedule {@code linear}, {@code scaled_linear}, {@code squaredcos_cap_v2} or {@code
 *     sigmoid}
 * @param trainedBetas the βs themselves, or null
 * @param prediction what the network predicts
 * @param varianceType {@code fixed_small}, {@code fixed_small_log}, {@code fixed_large}, {@code
 *     learned} or {@code learned_range} (DDPM)
 * @param clipSample whether x₀ is clipped to ±clipSampleRange
 * @param clipSampleRange the range
 * @param thresholding whether x₀ is limited by its own quantile instead (Saharia et al., 2022)
 * @param dynamicThresholdingRatio the quantile
 * @param sampleMaxValue the most the quantile may be
 * @param timestepSpacing {@code leading}, {@code trailing} or {@code linspace}
 * @param stepsOffset added to leading timesteps
 * @param rescaleBetasZeroSnr whether the last ᾱ is made 0 (Lin et al., 2023)
 * @param setAlphaToOne whether the step below t = 0 has ᾱ = 1 rather than ᾱ₀ (DDIM)
 */
public record SchedulerConfig(
    String className,
    int numTrainTimesteps,
    double betaStart,
    double betaEnd,
    String betaSchedule,
    @Nullable List<Double> trainedBetas,
    Prediction prediction,
    String varianceType,
    boolean clipSample,
    double clipSampleRange,
    boolean thresholding,
    double dynamicThresholdingRatio,
    double sampleMaxValue,
    String timestepSpacing,
    int stepsOffset,
    boolean rescaleBetasZeroSnr,
    boolean setAlphaToOne) {

  private static final List<String> CLASSES = List.of("DDPMScheduler", "DDIMScheduler");
  private static final List<String> SCHEDULES =
      List.of("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid");
  private static final List<String> VARIANCES =
      List.of("fixed_small", "fixed_small_log", "fixed_large", "learned", "learned_range");
  private static final List<String> SPACINGS = List.of("leading", "trailing", "linspace");

  /** Checks the values together; the message lists everything wrong. */
  public SchedulerConfig {
    trainedBetas = trainedBetas == null ? null : List.copyOf(trainedBetas);
    List<String> wrong = new ArrayList<>();
    oneOf(wrong, "_class_name", className, CLASSES);
    oneOf(wrong, "beta_schedule", betaSchedule, SCHEDULES);
    oneOf(wrong, "variance_type", varianceType, VARIANCES);
    oneOf(wrong, "timestep_spacing", timestepSpacing, SPACINGS);
    if (numTrainTimesteps < 1) {
      wrong.add("num_train_timesteps must be positive; got " + numTrainTimesteps);
    }
    if (trainedBetas != null && trainedBetas.size() != numTrainTimesteps) {
      wrong.add(
          "trained_betas must number num_train_timesteps; got "
              + trainedBetas.size()
              + " for "
              + numTrainTimesteps);
    }
    if (rescaleBetasZeroSnr && prediction == Prediction.EPSILON) {
      wrong.add(
          "rescale_betas_zero_snr needs v_prediction or sample: at ᾱ = 0, ε says nothing of x₀");
    }
    if (!wrong.isEmpty()) {
      throw new IllegalArgumentException("scheduler config: " + String.join("; ", wrong));
    }
  }

  private static void oneOf(List<String> wrong, String key, String value, List<String> known) {
    if (!known.contains(value)) {
      wrong.add(key + " must be of " + known + "; got '" + value + "'");
    }
  }

  /** The defaults of DDPMScheduler. */
  public static SchedulerConfig ddpm() {
    return new SchedulerConfig(
        "DDPMScheduler",
        1000,
        1e-4,
        0.02,
        "linear",
        null,
        Prediction.EPSILON,
        "fixed_small",
        true,
        1,
        false,
        0.995,
        1,
        "leading",
        0,
        false,
        true);
  }

  /** This configuration for another prediction. */
  public SchedulerConfig with(Prediction other) {
    return new SchedulerConfig(
        className,
        numTrainTimesteps,
        betaStart,
        betaEnd,
        betaSchedule,
        trainedBetas,
        other,
        varianceType,
        clipSample,
        clipSampleRange,
        thresholding,
        dynamicThresholdingRatio,
        sampleMaxValue,
        timestepSpacing,
        stepsOffset,
        rescaleBetasZeroSnr,
        setAlphaToOne);
  }

  /** This configuration with another β schedule. */
  public SchedulerConfig withBetas(String schedule) {
    return new SchedulerConfig(
        className,
        numTrainTimesteps,
        betaStart,
        betaEnd,
        schedule,
        trainedBetas,
        prediction,
        varianceType,
        clipSample,
        clipSampleRange,
        thresholding,
        dynamicThresholdingRatio,
        sampleMaxValue,
        timestepSpacing,
        stepsOffset,
        rescaleBetasZeroSnr,
        setAlphaToOne);
  }

  /** This configuration with another spacing of the timesteps. */
  public SchedulerConfig withSpacing(String spacing) {
    return new SchedulerConfig(
        className,
        numTrainTimesteps,
        betaStart,
        betaEnd,
        betaSchedule,
        trainedBetas,
        prediction,
        varianceType,
        clipSample,
        clipSampleRange,
        thresholding,
        dynamicThresholdingRatio,
        sampleMaxValue,
        spacing,
        stepsOffset,
        rescaleBetasZeroSnr,
        setAlphaToOne);
  }

  /**
   * Reads {@code scheduler_config.json}. Missing keys take the defaults of the class it names.
   *
   * @throws IllegalArgumentException if it is not valid, listing everything wrong
   */
  public static SchedulerConfig read(Path file) {
    return fromJson(ModelConfig.read(file), file.toString());
  }

  /** The configuration of a JSON object; see {@link #read}. */
  public static SchedulerConfig fromJson(JsonNode json, String where) {
    var r = new ModelConfig.Reader(json, where);
    SchedulerConfig d = ddpm();
    JsonNode betas = json.get("trained_betas");
    List<Double> trained = null;
    if (betas != null && betas.isArray()) {
      trained = new ArrayList<>();
      for (JsonNode b : betas) {
        trained.add(b.doubleValue());
      }
    }
    SchedulerConfig config =
        new SchedulerConfig(
            r.text("_class_name", d.className),
            r.integer("num_train_timesteps", d.numTrainTimesteps),
            r.number("beta_start", d.betaStart),
            r.number("beta_end", d.betaEnd),
            r.text("beta_schedule", d.betaSchedule),
            trained,
            Prediction.parse(r.text("prediction_type", d.prediction.configName())),
            r.text("variance_type", d.varianceType),
            r.bool("clip_sample", d.clipSample),
            r.number("clip_sample_range", d.clipSampleRange),
            r.bool("thresholding", d.thresholding),
            r.number("dynamic_thresholding_ratio", d.dynamicThresholdingRatio),
            r.number("sample_max_value", d.sampleMaxValue),
            r.text("timestep_spacing", d.timestepSpacing),
            r.integer("steps_offset", d.stepsOffset),
            r.bool("rescale_betas_zero_snr", d.rescaleBetasZeroSnr),
            r.bool("set_alpha_to_one", d.setAlphaToOne));
    r.textOrNull("trained_betas", null);
    r.finish();
    return config;
  }

  /** All keys as diffusers writes them. */
  public Map<String, @Nullable Object> toMap() {
    var m = ModelConfig.start(className);
    m.put("beta_end", betaEnd);
    m.put("beta_schedule", betaSchedule);
    m.put("beta_start", betaStart);
    m.put("clip_sample", clipSample);
    m.put("clip_sample_range", clipSampleRange);
    m.put("dynamic_thresholding_ratio", dynamicThresholdingRatio);
    m.put("num_train_timesteps", numTrainTimesteps);
    m.put("prediction_type", prediction.configName());
    m.put("rescale_betas_zero_snr", rescaleBetasZeroSnr);
    m.put("sample_max_value", sampleMaxValue);
    m.put("steps_offset", stepsOffset);
    m.put("thresholding", thresholding);
    m.put("timestep_spacing", timestepSpacing);
    m.put("trained_betas", trainedBetas);
    if (className.equals("DDPMScheduler")) {
      m.put("variance_type", varianceType);
    } else {
      m.put("set_alpha_to_one", setAlphaToOne);
    }
    return m;
  }
}
