// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Sums of products in Einstein's notation, planned onto views, {@link MatMul}, {@link Binary} and
 * {@link SumTo}: operands are contracted from left to right, and what no later term and no output
 * needs is summed away at once.
 *
 * <p>A label is a letter, or for a dimension under an ellipsis {@link #ELLIPSIS} plus its distance
 * from the last such dimension.
 */
final class Einsum {
  private static final int ELLIPSIS = 1 << 16;

  private final String equation;
  private final Map<Integer, Integer> sizes = new HashMap<>();
  private int ellipsisDims;

  private Einsum(String equation) {
    this.equation = equation;
  }

  /** A tensor whose axes are named. */
  private record Term(Tensor tensor, List<Integer> labels) {
    int size(int label) {
      return tensor.dim(labels.indexOf(label));
    }
  }

  static Tensor run(String equation, Tensor... operands) {
    return new Einsum(equation).evaluate(operands);
  }

  private Tensor evaluate(Tensor[] operands) {
    String text = equation.replace(" ", "");
    int arrow = text.indexOf("->");
    String[] left = (arrow < 0 ? text : text.substring(0, arrow)).split(",", -1);
    if (left.length != operands.length) {
      throw error(
          "must have one term for each operand; got "
              + left.length
              + " terms, "
              + operands.length
              + " operands");
    }
    List<Term> terms = new ArrayList<>();
    for (int i = 0; i < left.length; i++) {
      List<Integer> labels = labels(left[i], operands[i].rank(), i);
      terms.add(diagonal(new Term(operands[i], labels), i));
    }
    List<Integer> out = arrow < 0 ? implicit(left) : explicit(text.substring(arrow + 2));
    Term result = terms.getFirst();
    for (int i = 1; i < terms.size(); i++) {
      Set<Integer> needed = new HashSet<>(out);
      terms.subList(i + 1, terms.size()).forEach(t -> needed.addAll(t.labels));
      result = contract(result, terms.get(i), needed);
    }
    return arrange(sumAway(result, new HashSet<>(out)), out).tensor;
  }

  // ---- parsing

  private List<Integer> labels(String term, int rank, int number) {
    int dots = term.indexOf("...");
    String letters = dots < 0 ? term : term.substring(0, dots) + term.substring(dots + 3);
    int covered = rank - letters.length();
    if (dots < 0 ? covered != 0 : covered < 0) {
      throw error(
          "operand "
              + number
              + " must have "
              + (dots < 0 ? "" : "at least ")
              + letters.length()
              + " dimensions for term '"
              + term
              + "'; got "
              + rank);
    }
    List<Integer> labels = new ArrayList<>();
    for (int i = 0; i <= letters.length(); i++) {
      if (i == dots) {
        for (int d = covered - 1; d >= 0; d--) {
          labels.add(ELLIPSIS + d);
        }
        ellipsisDims = Math.max(ellipsisDims, covered);
      }
      if (i < letters.length()) {
        labels.add(letter(letters.charAt(i), term));
      }
    }
    return labels;
  }

  private int letter(char c, String term) {
    if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z')) {
      throw error("terms must consist of letters and one '...'; got '" + term + "'");
    }
    return c;
  }

  private List<Integer> explicit(String term) {
    int dots = term.indexOf("...");
    List<Integer> out =
        labels(term, term.length() - (dots < 0 ? 0 : 3) + (dots < 0 ? 0 : ellipsisDims), -1);
    for (int i = 0; i < out.size(); i++) {
      int label = out.get(i);
      if (label < ELLIPSIS && (!sizes.containsKey(label) || out.indexOf(label) != i)) {
        throw error(
            "output letters must occur on the left and only once in the output; got '"
                + (char) label
                + "'");
      }
    }
    return out;
  }

  /** The ellipsis, then the letters that occur once, in the order of the alphabet. */
  private List<Integer> implicit(String[] terms) {
    String all = String.join("", terms);
    List<Integer> out = new ArrayList<>();
    for (int d = ellipsisDims - 1; d >= 0; d--) {
      out.add(ELLIPSIS + d);
    }
    sizes.keySet().stream()
        .filter(label -> label < ELLIPSIS && all.indexOf(label) == all.lastIndexOf(label))
        .sorted()
        .forEach(out::add);
    return out;
  }

  // ---- planning

  /** Takes diagonals of repeated labels and records the sizes of all labels. */
  private Term diagonal(Term term, int number) {
    Tensor x = term.tensor;
    List<Integer> labels = new ArrayList<>(term.labels);
    for (int i = 0; i < labels.size(); i++) {
      int label = labels.get(i);
      int j = labels.lastIndexOf(label);
      while (j > i) {
        int n = x.dim(i);
        if (n != x.dim(j)) {
          throw error(
              "repeated letter '"
                  + (char) label
                  + "' must name equal sizes in operand "
                  + number
                  + "; got "
                  + x.shape());
        }
        x = diagonal(x, i, j);
        labels.remove(j);
        j = labels.lastIndexOf(label);
      }
      int size = x.dim(i);
      int known = sizes.getOrDefault(label, 1);
      if (size != known && size != 1 && known != 1) {
        throw error(
            (label < ELLIPSIS ? "letter '" + (char) label + "'" : "the ellipsis")
                + " must name one size; got "
                + known
                + " and "
                + size);
      }
      sizes.put(label, known == 1 ? size : known);
    }
    return new Term(x, labels);
  }

  /**
   * The diagonal of axes i &lt; j as axis i; the flat step from one element to the next is n + 1.
   */
  private static Tensor diagonal(Tensor x, int i, int j) {
    int n = x.dim(i);
    int rank = x.rank();
    int[] order = new int[rank];
    int k = 0;
    for (int axis = 0; axis < rank; axis++) {
      if (axis != i && axis != j) {
        order[k++] = axis;
      }
    }
    order[k] = i;
    order[k + 1] = j;
    Tensor last = Shaping.permute(x, order);
    int[] dims = Arrays.copyOf(last.shape().dims(), rank - 1);
    dims[rank - 2] = n * n;
    Tensor flat = Shaping.reshape(last, Shape.of(dims));
    Tensor taken = Shaping.slice(flat, rank - 2, 0, n * n, n + 1);
    int[] back = new int[rank - 1]; // the last axis returns to place i
    k = 0;
    for (int axis = 0; axis < rank - 1; axis++) {
      back[axis] = axis == i ? rank - 2 : k++;
    }
    return Shaping.permute(taken, back);
  }

  private Term contract(Term first, Term second, Set<Integer> needed) {
    Set<Integer> keepA = new HashSet<>(needed);
    keepA.addAll(second.labels);
    Set<Integer> keepB = new HashSet<>(needed);
    keepB.addAll(first.labels);
    Term a = sumAway(first, keepA);
    Term b = sumAway(second, keepB);
    List<Integer> batch = new ArrayList<>();
    List<Integer> summed = new ArrayList<>();
    List<Integer> onlyA = new ArrayList<>();
    List<Integer> onlyB = new ArrayList<>(b.labels);
    onlyB.removeAll(a.labels);
    for (int label : a.labels) {
      (!b.labels.contains(label) ? onlyA : needed.contains(label) ? batch : summed).add(label);
    }
    List<Integer> labels = join(batch, onlyA, onlyB);
    if (summed.isEmpty()) {
      Tensor x = aligned(a, labels);
      Tensor y = aligned(b, labels);
      return new Term(x.mul(y), labels);
    }
    Tensor x = arrange(stretch(a, b, summed), join(batch, onlyA, summed)).tensor;
    Tensor y = arrange(stretch(b, a, summed), join(batch, summed, onlyB)).tensor;
    int m = product(a, onlyA);
    int n = product(b, onlyB);
    int k = 1;
    for (int label : summed) {
      k *= Math.max(a.size(label), b.size(label));
    }
    Tensor c =
        Num.matmul(
            Shaping.reshape(x, matrix(a, batch, m, k)),
            Shaping.reshape(y, matrix(b, batch, k, n)),
            false,
            false);
    int[] dims = new int[labels.size()];
    for (int i = 0; i < dims.length; i++) {
      int label = labels.get(i);
      dims[i] = i < batch.size() ? c.dim(i) : onlyA.contains(label) ? a.size(label) : b.size(label);
    }
    return new Term(Shaping.reshape(c, Shape.of(dims)), labels);
  }

  /** Sums over axes that nobody needs any more. */
  private static Term sumAway(Term term, Set<Integer> needed) {
    List<Integer> labels = new ArrayList<>(term.labels);
    labels.retainAll(needed);
    if (labels.size() == term.labels.size()) {
      return term;
    }
    int[] ones = term.tensor.shape().dims();
    int[] dims = new int[labels.size()];
    int k = 0;
    for (int i = 0; i < ones.length; i++) {
      if (needed.contains(term.labels.get(i))) {
        dims[k++] = ones[i];
      } else {
        ones[i] = 1;
      }
    }
    Tensor sum = Num.sumTo(term.tensor, Shape.of(ones));
    return new Term(Shaping.reshape(sum, Shape.of(dims)), labels);
  }

  /** Labels of size 1 in {@code a} that have another size in {@code b}, stretched. */
  private static Term stretch(Term a, Term b, List<Integer> labels) {
    int[] dims = a.tensor.shape().dims();
    for (int label : labels) {
      int i = a.labels.indexOf(label);
      dims[i] = dims[i] == 1 ? b.size(label) : dims[i];
    }
    return new Term(Shaping.expand(a.tensor, Shape.of(dims)), a.labels);
  }

  private static Term arrange(Term term, List<Integer> labels) {
    int[] order = labels.stream().mapToInt(term.labels::indexOf).toArray();
    for (int i = 0; i < order.length; i++) {
      if (order[i] != i) {
        return new Term(Shaping.permute(term.tensor, order), labels);
      }
    }
    return term;
  }

  /** Axes in the order of {@code labels}, with size 1 where the term lacks one. */
  private static Tensor aligned(Term term, List<Integer> labels) {
    List<Integer> own = new ArrayList<>(labels);
    own.retainAll(term.labels);
    Tensor x = arrange(term, own).tensor;
    int[] dims =
        labels.stream().mapToInt(l -> term.labels.contains(l) ? term.size(l) : 1).toArray();
    return Shaping.reshape(x, Shape.of(dims));
  }

  private static Shape matrix(Term term, List<Integer> batch, int rows, int columns) {
    int[] dims = new int[batch.size() + 2];
    for (int i = 0; i < batch.size(); i++) {
      dims[i] = term.size(batch.get(i));
    }
    dims[dims.length - 2] = rows;
    dims[dims.length - 1] = columns;
    return Shape.of(dims);
  }

  private static int product(Term term, List<Integer> labels) {
    return labels.stream().mapToInt(term::size).reduce(1, Math::multiplyExact);
  }

  @SafeVarargs
  private static List<Integer> join(List<Integer>... parts) {
    return Arrays.stream(parts).flatMap(List::stream).toList();
  }

  private ShapeException error(String requirement) {
    return new ShapeException("einsum '" + equation + "': " + requirement);
  }
}
