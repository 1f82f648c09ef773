// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.cli;

import java.util.Map;

/**
 * Gives programs to {@link Sfumato}, which finds providers with {@link java.util.ServiceLoader}; so
 * a jar that is on the class path brings its programs along.
 */
public interface ProgramProvider {
  /**
   * The programs by the words that call them, in the order of the help.
   *
   * @return for example {@code "train ddpm"} or {@code "sample"}, each a class with picocli's
   *     {@code @Command}; of two words the first is the name of a group
   */
  Map<String, Class<?>> programs();
}
