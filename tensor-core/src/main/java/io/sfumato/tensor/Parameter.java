// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor;

/**
 * A named tensor that outlives scopes: a weight of a model, or part of an optimiser's state. Its
 * name is the one it has in checkpoints. The tensor's identity never changes; optimisers write into
 * it in place.
 */
public final class Parameter implements AutoCloseable {
  private final String name;
  private final Tensor value;
  private boolean closed;

  /**
   * Holds {@code value} until {@link #close}.
   *
   * @param name the checkpoint's name, for example {@code conv_in.weight}
   * @param value the tensor; this object adds itself as a holder
   */
  public Parameter(String name, Tensor value) {
    this.name = name;
    this.value = value;
    value.storage().retain();
  }

  /** The checkpoint's name. */
  public String name() {
    return name;
  }

  /** The tensor. */
  public Tensor value() {
    return value;
  }

  /** Lets go of the tensor. Closing twice does nothing. */
  @Override
  public void close() {
    if (!closed) {
      closed = true;
      value.storage().release();
    }
  }

  @Override
  public String toString() {
    return name + " " + value.spec();
  }
}
