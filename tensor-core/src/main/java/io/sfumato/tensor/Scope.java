// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor;

import java.util.Arrays;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * The lexical owner of temporaries. Every result belongs to the innermost scope open on its thread,
 * never to the scope of an argument, and is freed when that scope closes.
 *
 * {@snippet :
 * try (var step = Scope.open()) {
 *   Tensor y = model.call(x);      // freed at the end of the block
 * }
 * }
 *
 * <p>Scopes nest and belong to one thread. {@link #keep} moves a result to the enclosing scope.
 */
public final class Scope implements AutoCloseable {
  private static final ThreadLocal<@Nullable Scope> CURRENT = new ThreadLocal<>();

  private final @Nullable Scope parent;
  private final Thread thread = Thread.currentThread();
  private Storage[] held = new Storage[16];
  private int size;
  private boolean closed;

  private Scope(@Nullable Scope parent) {
    this.parent = parent;
  }

  /** Opens a scope inside the current one. Close it with try-with-resources. */
  public static Scope open() {
    Scope scope = new Scope(CURRENT.get());
    CURRENT.set(scope);
    return scope;
  }

  /**
   * The innermost open scope of this thread.
   *
   * @throws IllegalStateException if there is none
   */
  public static Scope current() {
    Scope scope = CURRENT.get();
    if (scope == null) {
      throw new IllegalStateException(
          "no Scope is open on thread '"
              + Thread.currentThread().getName()
              + "'; wrap the code in try (var scope = Scope.open()) { … }");
    }
    return scope;
  }

  /**
   * Runs {@code body} in a scope of its own; everything it made is freed but its result, which
   * moves to the current scope.
   *
   * @throws IllegalStateException if no scope is open
   */
  public static Tensor run(Supplier<Tensor> body) {
    current();
    try (Scope scope = open()) {
      return scope.keep(body.get());
    }
  }

  /** As {@link #run(Supplier)} for several results. */
  public static Tensor[] runAll(Supplier<Tensor[]> body) {
    current();
    try (Scope scope = open()) {
      Tensor[] results = body.get();
      for (Tensor t : results) {
        scope.keep(t);
      }
      return results;
    }
  }

  /** Runs {@code body} in a scope of its own and frees everything it made. */
  public static void run(Runnable body) {
    Scope scope = open();
    try {
      body.run();
    } finally {
      scope.close();
    }
  }

  /**
   * Moves a tensor to the enclosing scope, so that it outlives this one.
   *
   * @return the same tensor
   * @throws IllegalStateException if there is no enclosing scope
   */
  public Tensor keep(Tensor tensor) {
    Scope target = parent;
    if (target == null) {
      throw new IllegalStateException(
          "keep: this scope has no enclosing scope; open one around it, or read the values first");
    }
    tensor.storage().retain();
    target.own(tensor.storage());
    return tensor;
  }

  /** Takes over one count of {@code storage}; it is released when this scope closes. */
  public void own(Storage storage) {
    if (closed) {
      throw new IllegalStateException("scope is closed");
    }
    if (size == held.length) {
      held = Arrays.copyOf(held, 2 * size);
    }
    held[size++] = storage;
  }

  /**
   * Frees what this scope owns. Closing twice does nothing.
   *
   * @throws IllegalStateException if an inner scope is still open, or on another thread
   */
  @Override
  public void close() {
    if (closed) {
      return;
    }
    if (Thread.currentThread() != thread) {
      throw new IllegalStateException("a scope must be closed on the thread that opened it");
    }
    if (CURRENT.get() != this) {
      throw new IllegalStateException(
          "scopes must be closed innermost first; use try-with-resources");
    }
    closed = true;
    if (parent == null) {
      CURRENT.remove();
    } else {
      CURRENT.set(parent);
    }
    for (int i = size - 1; i >= 0; i--) {
      held[i].release();
    }
    size = 0;
  }
}
