// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import java.io.Console;
import java.util.function.Consumer;
import me.tongfei.progressbar.DelegatingProgressBarConsumer;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarConsumer;
import me.tongfei.progressbar.ProgressBarStyle;

/** A progress bar on the terminal; elsewhere, in a file say, a line from time to time. */
public final class Progress implements AutoCloseable {
  private static final int BAR_MILLIS = 500;

  // Where there is no terminal.
  private static final int LINE_MILLIS = 10_000;
  private static final int WIDTH = 100;

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
    return isTerminal()
        ? new Progress(bar(task, total, BAR_MILLIS).build())
        : lines(task, total, LINE_MILLIS, System.err::println);
  }

  /** Says where it is in a line, at most once in so many milliseconds and at the end. */
  static Progress lines(String task, long total, int millis, Consumer<String> to) {
    String[] said = {""};
    ProgressBarConsumer consumer =
        new DelegatingProgressBarConsumer(
            line -> {
              if (!line.equals(said[0])) { // the end is drawn twice
                said[0] = line;
                to.accept(line);
              }
            },
            WIDTH);
    return new Progress(bar(task, total, millis).setConsumer(consumer).build());
  }

  private static ProgressBarBuilder bar(String task, long total, int millis) {
    return new ProgressBarBuilder()
        .setTaskName(task)
        .setInitialMax(total)
        .setStyle(ProgressBarStyle.ASCII)
        .setUpdateIntervalMillis(millis);
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
