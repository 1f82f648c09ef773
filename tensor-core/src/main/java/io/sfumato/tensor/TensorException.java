// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor;

/**
 * Any failure the library reports about tensors. Messages read {@code op: requirement; got what
 * came; at module path}. Shape rules throw with the requirement alone; the executor adds the rest.
 */
public abstract sealed class TensorException extends RuntimeException
    permits ShapeException,
        DTypeException,
        DeviceException,
        MissingKernelException,
        NotDifferentiableException,
        NoValuesException,
        UseAfterFreeException {
  private static final long serialVersionUID = 1;

  /** What {@link #in} added; empty before. */
  private String context = "";

  /** What stands before the requirement; empty if nothing does. */
  private String prefix = "";

  TensorException(String requirement) {
    super(requirement);
  }

  /**
   * Adds the name of the op and what it was given, once; later calls change nothing.
   *
   * @param op name of the op
   * @param details what came and where, for example {@code got [2, 3] f32 cpu; at conv_in}
   * @return this
   */
  public final TensorException in(String op, String details) {
    if (prefix.isEmpty()) {
      prefix = op + ": ";
      context = "; " + details;
    }
    return this;
  }

  @Override
  public final String getMessage() {
    return prefix + super.getMessage() + context;
  }
}
