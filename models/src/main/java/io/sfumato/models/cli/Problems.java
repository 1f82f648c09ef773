// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.cli;

import io.sfumato.tensor.TensorException;
import java.util.ArrayList;
import java.util.List;

/** Everything that is wrong with what a program was given, so that one error can list it all. */
public final class Problems {
  private final List<String> messages = new ArrayList<>();

  /** None yet. */
  public Problems() {}

  /**
   * Notes a problem unless all is well.
   *
   * @param ok whether it is right
   * @param message names the option, as in {@code --batch must be positive; got 0}
   */
  public void require(boolean ok, String message) {
    if (!ok) {
      messages.add(message);
    }
  }

  /**
   * Notes what a check throws.
   *
   * @param check may throw an {@link IllegalArgumentException} or {@link TensorException} that says
   *     what is wrong
   */
  public void attempt(Runnable check) {
    attempt("", check);
  }

  /**
   * Notes what a check throws that knows nothing of options.
   *
   * @param option comes before its message
   * @param check may throw an {@link IllegalArgumentException} or {@link TensorException} that says
   *     what is wrong
   */
  public void attempt(String option, Runnable check) {
    try {
      check.run();
    } catch (IllegalArgumentException | TensorException e) {
      messages.add((option.isEmpty() ? "" : option + ": ") + e.getMessage());
    }
  }

  /** {@return what was noted, in order} */
  public List<String> messages() {
    return List.copyOf(messages);
  }

  /**
   * Ends a program that has been given something wrong.
   *
   * @throws IllegalArgumentException with all that was noted, if there is anything
   */
  public void raise() {
    if (!messages.isEmpty()) {
      throw new IllegalArgumentException(text(messages));
    }
  }

  /** One problem in one line, several as a list. */
  static String text(List<String> messages) {
    return messages.size() == 1
        ? messages.getFirst()
        : messages.size() + " things are wrong:\n  " + String.join("\n  ", messages);
  }
}
