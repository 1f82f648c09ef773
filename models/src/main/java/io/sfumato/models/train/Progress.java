// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;

/** A progress bar on the terminal. */
public final class Progress implements AutoCloseable {
  private final ProgressBar bar;

  private Progress(ProgressBar bar) {
    this.bar = bar;
  }

  /**
   * Shows a bar until {@link #close}.
   *
   * @param task what goes on, in a word
   * @param total the position at which it is done
   */
  public static Progress open(String task, long total) {
    return new Progress(
        new ProgressBarBuilder()
            .setTaskName(task)
            .setInitialMax(total)
            .setStyle(ProgressBarStyle.ASCII)
            .setUpdateIntervalMillis(500)
            .build());
  }

  /** Moves to {@code position} and shows {@code message} behind the bar. */
  public void at(long position, String message) {
    bar.stepTo(position);
    bar.setExtraMessage(message);
  }

  /** Moves on by {@code count}. */
  public void advance(long count) {
    bar.stepBy(count);
  }

  @Override
  public void close() {
    bar.close();
  }
}
