// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import java.nio.file.Path;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import org.jspecify.annotations.Nullable;

/**
 * Writes checkpoints beside the training, one at a time: the state is copied when {@link #save} is
 * called, and a thread of its own writes it. Who saves again waits for the one before.
 */
final class CheckpointWriter implements AutoCloseable {
  private record Pending(FutureTask<@Nullable Void> task, Runnable done) {}

  private final boolean asynchronous;
  private @Nullable Pending pending;

  /** A writer; one that is not asynchronous writes while {@link #save} runs. */
  CheckpointWriter(boolean asynchronous) {
    this.asynchronous = asynchronous;
  }

  /**
   * Saves a checkpoint.
   *
   * @param done runs on the caller's thread, in this method or a later one, when it is complete
   * @throws io.sfumato.tensor.io.TensorFileException if this one or the one before cannot be
   *     written
   */
  void save(
      Path folder, int keep, Checkpoint.State state, Checkpoint.Contents contents, Runnable done) {
    await();
    Checkpoint.Prepared prepared = Checkpoint.prepare(folder, keep, state, contents, asynchronous);
    if (!asynchronous) {
      prepared.finish();
      done.run();
      return;
    }
    FutureTask<@Nullable Void> task = new FutureTask<>(prepared::finish, null);
    pending = new Pending(task, done);
    Thread.ofPlatform().name("checkpoint").start(task);
  }

  /**
   * Looks whether the last one is complete, without waiting.
   *
   * @throws io.sfumato.tensor.io.TensorFileException if it could not be written
   */
  void check() {
    if (pending != null && pending.task.isDone()) {
      await();
    }
  }

  /**
   * Waits until the last one is complete, also if this thread is interrupted.
   *
   * @throws io.sfumato.tensor.io.TensorFileException if it could not be written
   */
  void await() {
    Pending last = pending;
    if (last == null) {
      return;
    }
    pending = null;
    boolean interrupted = false;
    try {
      while (true) {
        try {
          last.task.get();
          last.done.run();
          return;
        } catch (InterruptedException e) {
          interrupted = true;
        } catch (ExecutionException e) {
          if (e.getCause() instanceof RuntimeException failure) {
            failure.addSuppressed(new IllegalStateException("noticed here, after later steps"));
            throw failure;
          }
          throw new IllegalStateException("a checkpoint could not be written", e.getCause());
        }
      }
    } finally {
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }

  /** Waits for the last one. */
  @Override
  public void close() {
    await();
  }
}
