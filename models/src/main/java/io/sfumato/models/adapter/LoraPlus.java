// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.autograd.optim.ParameterGroup;
import io.sfumato.models.nn.Embedding;
import io.sfumato.models.nn.LayerNorm;
import io.sfumato.tensor.Parameter;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/**
 * LoRA+ (Hayou et al. 2024, <a href="https://arxiv.org/abs/2402.12354">arXiv:2402.12354</a>): B
 * learns faster than A. Parameters are sorted by the rule of PEFT (optimizers/loraplus.py): those
 * of adapted embeddings have a rate of their own; B, and what has one axis, get the rate times the
 * ratio; all others the rate. Biases and layer normalisations do not decay. Files are not affected.
 *
 * {@snippet :
 * var optimizer = new AdamW(LoraPlus.ratio(16).groups(adapter, 1e-4), AdamW.options());
 * }
 *
 * @param ratio rate of B by rate of A; at least 1, usually 2 to 16
 * @param embeddingRate the rate of adapted embeddings
 * @param weightDecay the weight decay of all but biases
 */
public record LoraPlus(double ratio, double embeddingRate, double weightDecay) {
  /** Checks the values. */
  public LoraPlus {
    if (!(ratio >= 1 && Double.isFinite(ratio))) {
      throw new IllegalArgumentException("the ratio must be 1 or more; got " + ratio);
    }
    if (!(embeddingRate >= 0 && weightDecay >= 0)) {
      throw new IllegalArgumentException(
          "the rate of embeddings and the decay must not be negative; got "
              + embeddingRate
              + " and "
              + weightDecay);
    }
  }

  /** PEFT's other values: 1e-6 for embeddings, no weight decay. */
  public static LoraPlus ratio(double ratio) {
    return new LoraPlus(ratio, 1e-6, 0);
  }

  /** The same with another rate of embeddings. */
  public LoraPlus embeddingRate(double rate) {
    return new LoraPlus(ratio, rate, weightDecay);
  }

  /** The same with a weight decay. */
  public LoraPlus weightDecay(double decay) {
    return new LoraPlus(ratio, embeddingRate, decay);
  }

  /**
   * The groups for an optimizer: those with parameters of A, embeddings, B, and what does not
   * decay.
   *
   * @param set an adapter
   * @param rate the learning rate of A
   */
  public List<ParameterGroup> groups(AdapterSet set, double rate) {
    List<Parameter> a = new ArrayList<>();
    List<Parameter> b = new ArrayList<>();
    List<Parameter> still = new ArrayList<>();
    List<Parameter> embeddings = new ArrayList<>();
    for (LayerAdapter part : set.parts().values()) {
      for (Parameter p : part.parameters()) {
        boolean factor = p.name().contains("lora_");
        if (part.layer() instanceof Embedding && factor) {
          embeddings.add(p);
        } else if (p.name().contains("lora_B") || p.value().rank() == 1) {
          boolean decays = !p.name().contains("bias") && !(part.layer() instanceof LayerNorm);
          (decays ? b : still).add(p);
        } else {
          a.add(p);
        }
      }
    }
    return Stream.of(
            new ParameterGroup(a, rate, weightDecay),
            new ParameterGroup(embeddings, embeddingRate, weightDecay),
            new ParameterGroup(b, rate * ratio, weightDecay),
            new ParameterGroup(still, rate * ratio, 0.0))
        .filter(group -> !group.parameters().isEmpty())
        .toList();
  }
}
