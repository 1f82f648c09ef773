// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import io.sfumato.models.distributed.Collectives.Reduction;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** What the ranks of {@link MpiTest} run, each in a JVM of its own. */
public final class RankPrograms {
  private RankPrograms() {}

  /** Runs the program that the first argument names. */
  public static void main(String[] args) throws Exception {
    Collectives ranks;
    try {
      ranks = Ranks.join();
    } catch (CollectiveException e) {
      say("%s", e.getMessage());
      System.exit(2);
      return;
    }
    switch (args[0]) {
      case "all" -> all(ranks);
      case "wait" -> wait(ranks);
      case "losses" -> losses(ranks, args);
      case "throw" -> fail(ranks);
      default -> throw new IllegalArgumentException(args[0]);
    }
  }

  /** Every operation once, and the outcome as a number that all ranks must print alike. */
  private static void all(Collectives ranks) {
    try (ranks;
        Scope scope = Scope.open()) {
      double check = 0;
      for (DType type : new DType[] {DType.F64, DType.F32, DType.BF16}) {
        Tensor x = Rng.seed(3).step(ranks.rank()).normal(100_003).to(type).contiguous();
        ranks.allReduce(x, Reduction.MEAN).await();
        check += Arrays.hashCode(x.toDoubleArray());
      }
      long[] own = new long[5];
      Arrays.fill(own, ranks.rank());
      Tensor gathered = Tensor.of(own, 5);
      ranks.allGather(gathered, new long[] {2, 3}).await();
      Tensor sent = Tensor.of(own, 5);
      ranks.broadcast(sent, 1).await();
      byte[][] messages = ranks.exchange(("from " + ranks.rank()).getBytes(StandardCharsets.UTF_8));
      ranks.barrier();
      try {
        String nothing = ranks.rank() < 9 ? null : "";
        System.out.println(nothing.length()); // must not end the process: MPI has no handler
      } catch (NullPointerException e) {
        check += 1;
      }
      say(
          "%s rank %d check %s %s %s %s",
          ranks.description(),
          ranks.rank(),
          check,
          Arrays.toString(gathered.toLongArray()),
          Arrays.toString(sent.toLongArray()),
          new String(messages[1 - ranks.rank()], StandardCharsets.UTF_8));
    }
  }

  /** The losses of training, to the last digit. */
  private static void losses(Collectives ranks, String[] args) {
    try (ranks) {
      ParallelOptions options =
          ParallelOptions.usual().zero(Boolean.parseBoolean(args[4])).bucketBytes(4000);
      double[] losses =
          TinyRun.losses(
              ranks,
              options,
              DType.valueOf(args[1]),
              Integer.parseInt(args[2]),
              Integer.parseInt(args[3]));
      say("losses of rank %d: %s.", ranks.rank(), Arrays.toString(losses));
    }
  }

  /** Rank 1 fails in a step; rank 0 waits for it there. */
  private static void fail(Collectives ranks) {
    Team team = new Team(ranks, ParallelOptions.usual());
    try {
      if (team.leads()) {
        ranks.barrier();
      } else {
        throw new IllegalStateException("this rank has lost its way");
      }
    } catch (RuntimeException e) {
      team.abort(e, line -> say("%s", line));
    }
  }

  /** Waits for a rank that does not come. */
  private static void wait(Collectives ranks) throws InterruptedException {
    say("rank %d is process %d.", ranks.rank(), ProcessHandle.current().pid());
    if (ranks.rank() == 1) {
      Thread.sleep(60_000);
    }
    try {
      ranks.barrier();
    } catch (CollectiveException e) {
      say("reason: %s", e.getMessage());
      ranks.abort(e.getMessage(), 1);
    }
  }

  /** One line in one piece, since lines of several ranks meet. */
  private static void say(String format, Object... arguments) {
    System.out.print(String.format(format + "\n", arguments));
    System.out.flush();
  }
}
