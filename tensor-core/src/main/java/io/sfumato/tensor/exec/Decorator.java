// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * An executor that does something around another one: records, casts, traces, checks. Decorators
 * form a chain that ends in {@link Eager}; the outermost one sees an op first.
 */
public interface Decorator extends Executor {
  /** The executor that this one decorates. */
  Executor inner();

  /** The same decoration (with the same state) of another executor. */
  Decorator over(Executor inner);

  /** The outermost decorator of a kind in the chain of {@code executor}, or null. */
  static <D extends Decorator> @Nullable D find(Executor executor, Class<D> kind) {
    Executor e = executor;
    while (e instanceof Decorator d) {
      if (kind.isInstance(d)) {
        return kind.cast(d);
      }
      e = d.inner();
    }
    return null;
  }

  /** The chain of {@code executor} without the decorators of a kind. */
  static Executor without(Executor executor, Class<? extends Decorator> kind) {
    if (!(executor instanceof Decorator d)) {
      return executor;
    }
    Executor inner = without(d.inner(), kind);
    return kind.isInstance(d) ? inner : d.over(inner);
  }

  /**
   * The chain of {@code executor} with one more link: directly beneath the innermost decorator of a
   * kind, or outermost if there is none. So a recorder gets beneath autocasting and sees the casts.
   */
  static Executor beneath(
      Executor executor, Class<? extends Decorator> kind, UnaryOperator<Executor> link) {
    return executor instanceof Decorator d && find(d, kind) != null
        ? d.over(beneath(d.inner(), kind, link))
        : link.apply(executor);
  }

  /** The chain of {@code executor} with the link {@code old} and all beneath it replaced. */
  static Executor replace(Executor executor, Decorator old, Executor replacement) {
    if (executor == old) {
      return replacement;
    }
    return executor instanceof Decorator d
        ? d.over(replace(d.inner(), old, replacement))
        : executor;
  }
}
