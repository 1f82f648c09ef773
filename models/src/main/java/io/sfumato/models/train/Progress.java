// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import java.io.Console;
import me.tongfei.progressbar.ConsoleProgressBarConsumer;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;

/** A progress bar on the terminal. */
public final class Progress implements AutoCloseable {
  private static final int WIDTH = 100; // columns, where there is no terminal

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
    ProgressBarBuilder bar =
        new ProgressBarBuilder()
            .setTaskName(task)
            .setInitialMax(total)
            .setStyle(ProgressBarStyle.ASCII)
            .setUpdateIntervalMillis(500);
    if (!isTerminal()) {
      bar.setConsumer(new ConsoleProgressBarConsumer(System.err, WIDTH));
    }
    return new Progress(bar.build());
  }

  /**
   * Where there is none, it is not asked for its width: jline opens streams for that, three each
   * time, which the JDK then keeps for ever as users of the standard file descriptors.
   */
  @SuppressWarnings("SystemConsoleNull") // the JDK's own console is null without a terminal
  private static boolean isTerminal() {
    Console console = System.console();
    return console != null && console.isTerminal();
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
