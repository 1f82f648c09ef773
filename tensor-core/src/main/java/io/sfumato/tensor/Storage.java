// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;

/**
 * The counted owner of one buffer. Scopes, tapes, parameters and views hold it; when the count
 * reaches zero the buffer goes back to its allocator. Users never meet it: they see scopes.
 *
 * <p>With {@code -Dsfumato.debug=true} every storage remembers where it was created and freed, and
 * {@link #liveReport()} lists those alive.
 */
public final class Storage {
  /** Whether creation and release stacks are recorded. */
  static final boolean DEBUG = Boolean.getBoolean("sfumato.debug");

  private static final Map<Storage, Throwable> LIVE = new ConcurrentHashMap<>();

  /** Gives a buffer back to where it came from. */
  @FunctionalInterface
  public interface Release {
    /**
     * Frees the buffer.
     *
     * @param address its address
     * @param bytes its size
     */
    void free(long address, long bytes);
  }

  private final Device device;
  private final long address;
  private final long bytes;
  private final Release release;
  private final AtomicInteger count = new AtomicInteger(1);
  private volatile int version;
  private final @Nullable String withheld;
  private @Nullable Throwable freedAt;
  private @Nullable Runnable whenFreed;

  /**
   * Takes ownership of a buffer, with a count of 1 that belongs to the caller.
   *
   * @param device where the buffer is
   * @param address its address on that device
   * @param bytes its size
   * @param release called once when the count reaches zero
   */
  public Storage(Device device, long address, long bytes, Release release) {
    this(device, address, bytes, release, null);
  }

  private Storage(
      Device device, long address, long bytes, Release release, @Nullable String withheld) {
    this.device = device;
    this.address = address;
    this.bytes = bytes;
    this.release = release;
    this.withheld = withheld;
    if (DEBUG) {
      LIVE.put(this, new Throwable("created here by " + Thread.currentThread().getName()));
    }
  }

  /**
   * A storage without memory, for a tensor that has a shape, a type and a place but no values here.
   * {@link #address} throws.
   *
   * @param device where it is said to be
   * @param why what the exception says, for example where the values are
   */
  public static Storage withheld(Device device, String why) {
    return new Storage(device, 0, 0, (address, bytes) -> {}, why);
  }

  /**
   * A storage without memory that is counted as if it had some: {@link #bytes} says how much, and
   * {@code release} is told when nobody holds it any more. {@link #address} throws.
   *
   * @param device where it is said to be
   * @param bytes the size it is said to have
   * @param release is told of the size
   * @param why what the exception says
   */
  public static Storage imagined(Device device, long bytes, Release release, String why) {
    return new Storage(device, 0, bytes, release, why);
  }

  /** Whether there is a buffer: it may have been freed, but it is not one without memory. */
  public boolean hasMemory() {
    return withheld == null;
  }

  /** Where the buffer is. */
  public Device device() {
    return device;
  }

  /** The size of the buffer in bytes. */
  public long bytes() {
    return bytes;
  }

  /** Whether the buffer is still there. */
  public boolean isLive() {
    return count.get() > 0;
  }

  /**
   * The address of the buffer.
   *
   * @throws UseAfterFreeException if it has been freed
   * @throws NoValuesException if it is {@link #withheld} or {@link #imagined}
   */
  public long address() {
    if (count.get() <= 0) {
      UseAfterFreeException e =
          new UseAfterFreeException(
              "tensor used after the scope that owned it was closed; Scope.keep moves a result to"
                  + " the enclosing scope"
                  + (DEBUG ? "" : " (run with -Dsfumato.debug=true to see where it was freed)"));
      if (freedAt != null) {
        e.initCause(freedAt);
      }
      throw e;
    }
    if (withheld != null) {
      throw new NoValuesException(withheld);
    }
    return address;
  }

  /**
   * Adds a holder.
   *
   * @throws UseAfterFreeException if the buffer has been freed
   */
  public void retain() {
    if (count.getAndUpdate(c -> c > 0 ? c + 1 : c) <= 0) {
      address();
    }
  }

  /**
   * Removes a holder; the last one frees the buffer.
   *
   * @throws IllegalStateException if there was none left, which is a bug in the library
   */
  public void release() {
    int left = count.decrementAndGet();
    if (left == 0) {
      if (DEBUG) {
        LIVE.remove(this);
        freedAt = new Throwable("freed here");
      }
      Runnable action = takeAction();
      if (action != null) {
        action.run();
      }
      release.free(address, bytes);
    } else if (left < 0) {
      throw new IllegalStateException("storage released more often than it was retained");
    }
  }

  /**
   * Runs {@code action} when the buffer is freed, after actions given before: for what a backend
   * keeps beside a buffer.
   *
   * @throws UseAfterFreeException if it has been freed
   */
  public synchronized void whenFreed(Runnable action) {
    address();
    Runnable before = whenFreed;
    whenFreed =
        before == null
            ? action
            : () -> {
              before.run();
              action.run();
            };
  }

  private synchronized @Nullable Runnable takeAction() {
    Runnable action = whenFreed;
    whenFreed = null;
    return action;
  }

  /** Counts in-place changes, so that a tape can tell when a tensor it saved was overwritten. */
  public int version() {
    return version;
  }

  /** Notes an in-place change. */
  @SuppressWarnings("NonAtomicVolatileUpdate") // one thread computes per device
  public void changed() {
    version++;
  }

  /** With {@code -Dsfumato.debug=true}: size and creation stack of every live storage. */
  public static String liveReport() {
    return liveReport(null);
  }

  /**
   * The same of one device.
   *
   * @param device the device, or null for all
   */
  public static String liveReport(@Nullable Device device) {
    StringBuilder text = new StringBuilder();
    LIVE.forEach(
        (s, where) -> {
          if (device != null && !s.device.equals(device)) {
            return;
          }
          text.append(s.bytes).append(" bytes on ").append(s.device).append(", created at\n");
          for (StackTraceElement e : where.getStackTrace()) {
            text.append("    ").append(e).append('\n');
          }
        });
    return text.toString();
  }
}
