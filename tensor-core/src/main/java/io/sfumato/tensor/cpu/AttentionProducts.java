// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/**
 * The matrix products of {@link AttentionForward}, and how their operands lie: rearranged once for
 * each head (keys and values) and each block of queries.
 */
interface AttentionProducts {
  /** Keys per block of scores. */
  int KEY_BLOCK = GemmTile.PITCHED_COLUMNS;

  /** Queries per block of scores. */
  int queryBlock();

  /** Floats from one row of scores to the next. */
  int scoreStride();

  /** Floats from one row of outputs to the next. */
  int outputStride();

  /** Bytes of the keys and values of a head. */
  long headBytes();

  /**
   * Rearranges keys and values.
   *
   * @param head batch times heads plus the head
   * @param from the first key, a multiple of {@link #KEY_BLOCK}
   * @param to the key behind the last one, another multiple or the number of keys
   * @param packed address of {@link #headBytes}
   * @return whether these products can be used with them
   */
  boolean packHead(int head, int from, int to, long packed);

  /** Bytes of the work space of a block of queries. */
  long blockBytes();

  /**
   * Rearranges queries.
   *
   * @param head batch times heads plus the head
   * @param first the first query, a multiple of {@link #queryBlock}
   * @param rows their number
   * @param work address of {@link #blockBytes}
   * @return whether these products can be used with them
   */
  boolean packQueries(int head, int first, int rows, long work);

  /**
   * Scores {@code s[r, c] = scale Σ_d q[r, d] k[j + c, d]}.
   *
   * @param head batch times heads plus the head
   * @param first the first query
   * @param rows the queries
   * @param j the first key, a multiple of {@link #KEY_BLOCK}
   * @param n the keys, at most {@link #KEY_BLOCK}
   * @param packed the keys and values of the head
   * @param work the work space
   * @param s address of the scores
   */
  void scores(int head, int first, int rows, int j, int n, long packed, long work, long s);

  /**
   * Probabilities {@code P[r, c] = e^(s[r, c] - shift[r])}, 0 for what a query does not see.
   *
   * @param first the first query
   * @param rows the queries
   * @param j the first key
   * @param n the keys, at most {@link #KEY_BLOCK}
   * @param s address of the scores, which change
   * @param shift the largest score of each row, or more
   * @param sums receives the sum of each row
   * @param work the work space
   */
  void probabilities(
      int first, int rows, int j, int n, long s, float[] shift, double[] sums, long work);

  /**
   * Outputs {@code o[r, d] (+)= Σ_c P[r, c] v[j + c, d]}.
   *
   * @param head batch times heads plus the head
   * @param rows the queries
   * @param j the first key, a multiple of {@link #KEY_BLOCK}
   * @param n the keys, at most {@link #KEY_BLOCK}
   * @param s where the scores were
   * @param packed the keys and values of the head
   * @param work the work space
   * @param o address of the outputs
   * @param add whether to add to them
   */
  void outputs(
      int head, int rows, int j, int n, long s, long packed, long work, long o, boolean add);
}
