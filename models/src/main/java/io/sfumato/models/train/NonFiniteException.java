// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

/**
 * A loss or a gradient is not finite. Nothing was changed by the step that found it. The message
 * says which number, and where the first one that is not finite came from.
 */
public final class NonFiniteException extends ArithmeticException {
  private static final long serialVersionUID = 1;

  /** Which number. */
  private final String what;

  /** Where it came from. */
  private final String cause;

  /** The batch. */
  private final long batch;

  NonFiniteException(String what, String cause, long batch) {
    super(what + ": " + cause);
    this.what = what;
    this.cause = cause;
    this.batch = batch;
  }

  /** What was found, such as {@code the loss became NaN}. */
  public String what() {
    return what;
  }

  /** Where the first one came from: a parameter, a batch, an op in a module. */
  public String where() {
    return cause;
  }

  /** The number of the batch. */
  public long batch() {
    return batch;
  }
}
