// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

import org.jspecify.annotations.Nullable;

/**
 * The path of the module whose forward runs on this thread, for messages and traces: {@code
 * down_blocks.0.resnets.1}. Modules push their full path when called.
 */
public final class ModulePath {
  private static final ThreadLocal<@Nullable ModulePath> CURRENT = new ThreadLocal<>();

  private final String path;
  private final @Nullable ModulePath outer;

  private ModulePath(String path, @Nullable ModulePath outer) {
    this.path = path;
    this.outer = outer;
  }

  /** Enters a module; pair it with {@link #pop} in {@code finally}. */
  public static void push(String path) {
    CURRENT.set(new ModulePath(path, CURRENT.get()));
  }

  /** Leaves the module entered last. */
  public static void pop() {
    ModulePath top = CURRENT.get();
    if (top == null) {
      throw new IllegalStateException("no module was entered");
    }
    if (top.outer == null) {
      CURRENT.remove();
    } else {
      CURRENT.set(top.outer);
    }
  }

  /** The current path, empty outside of modules. */
  public static String current() {
    ModulePath top = CURRENT.get();
    return top == null ? "" : top.path;
  }
}
