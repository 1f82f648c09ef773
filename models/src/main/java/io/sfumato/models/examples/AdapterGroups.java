// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import io.sfumato.models.adapter.AdapterKind;
import io.sfumato.models.adapter.Loha;
import io.sfumato.models.adapter.Lokr;
import io.sfumato.models.adapter.Lora;
import io.sfumato.models.adapter.Targets;
import io.sfumato.models.cli.Settings;
import io.sfumato.models.nn.WeightLayer;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Predicate;
import java.util.stream.IntStream;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Option;
import picocli.CommandLine.TypeConversionException;

/** Which layers get which adapter, by patterns of their paths. */
final class AdapterGroups {
  @Option(
      names = "--adapters",
      paramLabel = "match=…",
      converter = Converter.class,
      description =
          "Layers and what is attached to them, match=**.to_q|**.to_k,kind=lora,rank=8,alpha=16,"
              + " instead of --kind; repeatable, the first that fits counts. kind is lora, loha or"
              + " lokr.")
  private List<Settings> groups = List.of();

  private record Group(Predicate<String> targets, AdapterKind kind) {
    static Group of(Settings settings) {
      List<String> match = settings.list("match");
      if (match.isEmpty()) {
        throw new TypeConversionException("match is missing");
      }
      int rank = settings.whole("rank", 1);
      Double given = settings.real("alpha");
      double alpha = given == null ? rank : given;
      String name = settings.entries().getOrDefault("kind", "lora");
      AdapterKind kind =
          switch (name) {
            case "lora" -> Lora.rank(rank).alpha(alpha);
            case "loha" -> Loha.rank(rank).alpha(alpha);
            case "lokr" -> Lokr.rank(rank).alpha(alpha);
            default ->
                throw new TypeConversionException("kind must be lora, loha or lokr; got " + name);
          };
      return new Group(Targets.glob(match.toArray(String[]::new)), kind);
    }
  }

  /** Reads one of the groups. */
  static final class Converter implements ITypeConverter<Settings> {
    @Override
    public Settings convert(String value) {
      Settings settings = Settings.parse(value, Set.of("match", "kind", "rank", "alpha"));
      try {
        Group.of(settings);
      } catch (IllegalArgumentException e) {
        throw new TypeConversionException(e.getMessage());
      }
      return settings;
    }
  }

  /** Whether there are any. */
  boolean isEmpty() {
    return groups.isEmpty();
  }

  /** The layers that a group fits. */
  Predicate<String> targets() {
    List<Group> all = all();
    return path -> all.stream().anyMatch(group -> group.targets.test(path));
  }

  /** What a layer gets. */
  AdapterKind kindOf(WeightLayer layer) {
    return all().stream()
        .filter(group -> group.targets.test(layer.path()))
        .findFirst()
        .orElseThrow(() -> new IllegalArgumentException(layer.path() + " is in no group"))
        .kind();
  }

  /**
   * Checks that each group has a layer.
   *
   * @param paths of the layers that were adapted
   * @throws IllegalArgumentException listing the groups that have none
   */
  void requireAllUsed(Set<String> paths) {
    List<Group> all = all();
    Set<Integer> used = new TreeSet<>();
    for (String path : paths) {
      IntStream.range(0, all.size())
          .filter(i -> all.get(i).targets.test(path))
          .findFirst()
          .ifPresent(used::add);
    }
    List<String> idle =
        IntStream.range(0, all.size())
            .filter(i -> !used.contains(i))
            .mapToObj(i -> groups.get(i).toString())
            .toList();
    if (!idle.isEmpty()) {
      throw new IllegalArgumentException(
          "--adapters: no layer is left for " + String.join("; ", idle));
    }
  }

  private List<Group> all() {
    return groups.stream().map(Group::of).toList();
  }

  @Override
  public String toString() {
    return String.join(" ", groups.stream().map(Settings::toString).toList());
  }
}
