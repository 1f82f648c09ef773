// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import java.io.IOException;
import java.net.InetAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Notices within half a second when the process of another rank on the same machine is gone, and
 * makes what this rank waits for fail with the reason. Ranks on other machines are noticed by the
 * launcher, which ends all, or by the timeout.
 */
final class PeerWatch {
  private static final Duration INTERVAL = Duration.ofMillis(200);

  private PeerWatch() {}

  /** Exchanges the process ids and watches those of this machine, until the collectives close. */
  static void begin(HostCollectives ranks) {
    String own = machine() + "\n" + ProcessHandle.current().pid();
    byte[][] all = ranks.exchange(own.getBytes(StandardCharsets.UTF_8));
    Map<Integer, ProcessHandle> peers = new LinkedHashMap<>();
    for (int r = 0; r < all.length; r++) {
      String[] lines = new String(all[r], StandardCharsets.UTF_8).split("\n", -1);
      if (r != ranks.rank() && lines[0].equals(machine())) {
        int rank = r;
        ProcessHandle.of(Long.parseLong(lines[1])).ifPresent(p -> peers.put(rank, p));
      }
    }
    if (!peers.isEmpty()) {
      Thread.ofPlatform().daemon().name("sfumato-peers").start(() -> watch(ranks, peers));
    }
  }

  private static void watch(HostCollectives ranks, Map<Integer, ProcessHandle> peers) {
    try {
      while (!ranks.isClosed()) {
        for (Map.Entry<Integer, ProcessHandle> peer : peers.entrySet()) {
          if (!peer.getValue().isAlive() && !ranks.isClosed()) {
            ranks.fail(
                "rank "
                    + peer.getKey()
                    + " (process "
                    + peer.getValue().pid()
                    + ") is gone; rank "
                    + ranks.rank()
                    + " cannot go on without it");
            return;
          }
        }
        Thread.sleep(INTERVAL);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** The name of this machine, and what tells it from another container of the same name. */
  private static String machine() {
    String name;
    try {
      name = InetAddress.getLocalHost().getHostName();
    } catch (IOException e) {
      name = "?";
    }
    try {
      Path space = Files.readSymbolicLink(Path.of("/proc/self/ns/pid"));
      return name + " " + space;
    } catch (IOException e) {
      return name;
    }
  }
}
