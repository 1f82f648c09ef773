// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.cli;

/**
 * A program or a mixin of options that can say what is wrong with its values. {@link Program} asks
 * all of a program's before it starts, and reports everything at once, with the place in the
 * configuration file where a value came from.
 */
public interface Checked {
  /**
   * Looks at the options together.
   *
   * @param problems is told of each that is wrong; messages name the option with its dashes
   */
  void check(Problems problems);
}
