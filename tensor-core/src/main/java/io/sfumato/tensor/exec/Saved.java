// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

/**
 * Which inputs and outputs of an op its backward needs.
 *
 * @param inputs numbers of inputs
 * @param outputs numbers of outputs
 */
@SuppressWarnings("ArrayRecordComponent") // internal value, never compared
public record Saved(int[] inputs, int[] outputs) {
  /** Nothing. */
  public static final Saved NONE = new Saved(new int[0], new int[0]);

  /** Some inputs. */
  public static Saved inputs(int... inputs) {
    return new Saved(inputs, new int[0]);
  }

  /** Some outputs. */
  public static Saved outputs(int... outputs) {
    return new Saved(new int[0], outputs);
  }

  /** These inputs together with some outputs. */
  public Saved andOutputs(int... more) {
    return new Saved(inputs, more);
  }

  /** Those of {@code inputs} whose condition (at the same position) holds. */
  public static Saved inputsIf(int[] inputs, boolean... conditions) {
    int n = 0;
    for (boolean c : conditions) {
      n += c ? 1 : 0;
    }
    int[] chosen = new int[n];
    int k = 0;
    for (int i = 0; i < inputs.length; i++) {
      if (conditions[i]) {
        chosen[k++] = inputs[i];
      }
    }
    return inputs(chosen);
  }
}
