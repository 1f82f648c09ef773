// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import java.lang.System.Logger.Level;
import java.lang.foreign.Arena;
import java.util.Locale;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/**
 * Watches over the tiles of matrix products while a program warms up. In one JVM out of many the
 * JIT compiler gives up on a method and leaves it ten to a hundred times slower for as long as that
 * JVM lives. So, {@value #FIRST_SECONDS} seconds after the first product, full tiles are timed on a
 * small block that the cache holds. If they are fast, as nearly always, that is all.
 *
 * <p>If not, they may not be compiled yet, or be in no use in this program. From then on they are
 * run on that block for two per cent of the time, and so are the same tiles in parts of two rows
 * ({@link SplitTile}), until either would be compiled; both are timed again after twice, four and
 * eight times as long. When both were run often enough and the parts are at least twice as fast,
 * products go over to them, and the log says so. Should the tiles be fast at the next check, they
 * are used again.
 *
 * <p>Rows of A are read in place for that. Loops for slabs and for other known distances are not
 * looked at: a program may never use them, and to have them compiled would take it minutes.
 *
 * <p>The choice changes no bit of any result. A check takes less than a microsecond where tiles are
 * fast, and a few milliseconds where they are not. The system property {@code sfumato.tile.check}
 * turns all of it off ({@code off}; {@code on} is the default).
 */
public final class TileChoice {
  /** The system property that turns checks off. */
  public static final String PROPERTY = "sfumato.tile.check";

  /** When the first check is due, after the first product. */
  private static final int FIRST_SECONDS = 3;

  /** Length of the sums of the block. */
  private static final int DEPTH = 64;

  private static final int TRIES = 4;
  private static final int CHECKS = 4;

  /** Runs after which the server compiler has been asked for a method, with some to spare. */
  private static final int PRACTICE = 1500;

  /** The share of time that practice takes is one in so many, and not more at a time than this. */
  private static final int SHARE = 50;

  private static final long LONGEST = 4_000_000;

  /**
   * Nanoseconds for one vector's fused multiply-add: compiled, no processor with the vectors we use
   * needs more than 0.6, or twice that beside another busy thread of its core; boxed vectors take
   * 10 and more.
   */
  private static final double SLOW = 4;

  private final GemmTile preferred;
  private final LongSupplier clock;
  private final ReentrantLock checking = new ReentrantLock();

  private volatile GemmTile chosen; // the rest is seen under the lock
  private volatile boolean done;
  private boolean started;
  private int checks;
  private int practised;
  private long credit; // nanoseconds of practice, less than nothing after a long one
  private long last;
  private long due;
  private long delay = FIRST_SECONDS * 1_000_000_000L;
  private @Nullable GemmTile split;

  /**
   * Watches over some tiles.
   *
   * @param preferred the tiles
   * @param setting the value of {@link #PROPERTY}, or null if it is not set
   * @throws IllegalArgumentException if the setting is neither {@code on} nor {@code off}
   */
  public TileChoice(GemmTile preferred, @Nullable String setting) {
    this(preferred, setting, System::nanoTime);
  }

  TileChoice(GemmTile preferred, @Nullable String setting, LongSupplier clock) {
    this.preferred = preferred;
    this.clock = clock;
    chosen = preferred;
    done = Setting.isOff(PROPERTY, setting);
  }

  /** The tiles to use now. */
  public GemmTile current() {
    if (!done && checking.tryLock()) {
      try {
        look();
      } finally {
        checking.unlock();
      }
    }
    return chosen;
  }

  /** Checks, if the time has come. */
  private void look() {
    long now = clock.getAsLong();
    if (!started) {
      started = true;
      due = now + delay;
    }
    if (split != null && chosen == preferred && !done && now < due) {
      practise(split, now - last);
    }
    if (!done && now >= due) {
      check();
      delay *= 2;
      due = now + delay;
    }
    last = now;
  }

  private void check() {
    checks++;
    double time = nanoseconds(preferred, TRIES);
    if (time <= SLOW) {
      if (chosen != preferred) {
        log(Level.INFO, "the tiles of matrix products are compiled by now and used again", time, 0);
      }
      settle(preferred);
    } else if (split == null) {
      split = new SplitTile(preferred);
    } else if (chosen == split) {
      settle(split);
    } else {
      double other = nanoseconds(split, TRIES);
      if (practised == PRACTICE && other < time / 2) {
        chosen = split;
        log(
            Level.WARNING,
            "the JIT compiler has left the tiles of matrix products slow; products go by two rows"
                + " from here on, with the same results. A new start of the program usually cures"
                + " it, -D"
                + PROPERTY
                + "=off turns this check off",
            time,
            other);
      } else if (checks == CHECKS) {
        log(
            Level.WARNING,
            "the tiles of matrix products are slow, and so are those of two rows: does this JVM"
                + " run with its C2 compiler? -D"
                + PROPERTY
                + "=off turns this check off",
            time,
            other);
        settle(preferred);
      }
    }
  }

  private void settle(GemmTile tile) {
    chosen = tile;
    done = true;
  }

  private static void log(Level level, String message, double time, double other) {
    String times =
        String.format(Locale.ROOT, " (%.1f ns per vector, by two rows %.1f)", time, other);
    System.getLogger(TileChoice.class.getName()).log(level, other == 0 ? message : message + times);
  }

  /** Runs both for their share of the time that has passed; what takes longer is owed. */
  private void practise(GemmTile parts, long passed) {
    credit = Math.min(credit + passed / SHARE, LONGEST);
    while (practised < PRACTICE && credit > 0) {
      long begin = clock.getAsLong();
      nanoseconds(preferred, 1);
      nanoseconds(parts, 1);
      credit -= clock.getAsLong() - begin;
      practised++;
    }
  }

  /** The time of a full tile per vector multiplied and added, the slower one of store and sum. */
  private double nanoseconds(GemmTile tile, int tries) {
    int rows = tile.maxRows();
    int vectors = tile.maxVectors();
    int width = vectors * tile.lanes();
    long store = Long.MAX_VALUE;
    long sum = Long.MAX_VALUE;
    try (Arena arena = Arena.ofConfined()) {
      long a = arena.allocate(4L * rows * DEPTH, 64).address();
      long b = arena.allocate(4L * DEPTH * width, 64).address();
      long c = arena.allocate(4L * rows * width, 64).address();
      for (int i = 0; i < tries; i++) {
        long begin = clock.getAsLong();
        tile.store(rows, vectors, DEPTH, a, DEPTH, 1, b, width, c, width);
        long middle = clock.getAsLong();
        tile.sum(rows, vectors, DEPTH, a, DEPTH, 1, b, width, c, width, c, width);
        store = Math.min(store, middle - begin);
        sum = Math.min(sum, clock.getAsLong() - middle);
      }
    }
    return (double) Math.max(store, sum) / (rows * vectors * DEPTH);
  }
}
