// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import io.sfumato.models.cli.ProgramProvider;
import java.util.LinkedHashMap;
import java.util.Map;

/** The names that the examples have in the one program. */
public final class ExamplePrograms implements ProgramProvider {
  /** For {@link java.util.ServiceLoader}. */
  public ExamplePrograms() {}

  @Override
  public Map<String, Class<?>> programs() {
    Map<String, Class<?>> programs = new LinkedHashMap<>();
    programs.put("train ddpm", TrainDdpm.class);
    programs.put("train dit", TrainDit.class);
    programs.put("train flow", TrainFlowMatching.class);
    programs.put("train latent", TrainLatentDiffusion.class);
    programs.put("train autoencoder", TrainAutoencoder.class);
    programs.put("train vae", TrainVae.class);
    programs.put("train vqvae", TrainVqVae.class);
    programs.put("train gan", TrainGan.class);
    programs.put("finetune", FinetuneLora.class);
    programs.put("sample", Sample.class);
    programs.put("img2img", Img2Img.class);
    programs.put("inpaint", Inpaint.class);
    programs.put("interpolate", Interpolate.class);
    programs.put("judge-shapes", JudgeShapes.class);
    return programs;
  }
}
