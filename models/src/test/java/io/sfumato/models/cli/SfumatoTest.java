// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.File;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.BiConsumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.AutoComplete;
import picocli.CommandLine;

/** The one program as a whole: every program in it explains itself, and a shell completes it. */
class SfumatoTest {
  @TempDir Path folder;

  private static void walk(
      CommandLine at, List<String> words, BiConsumer<List<String>, CommandLine> seen) {
    seen.accept(words, at);
    at.getSubcommands()
        .forEach(
            (name, below) -> {
              List<String> longer = new ArrayList<>(words);
              longer.add(name);
              walk(below, longer, seen);
            });
  }

  private static int run(StringWriter to, String... args) {
    CommandLine all = Sfumato.commands();
    PrintWriter writer = new PrintWriter(to, true);
    walk(all, List.of(), (words, c) -> c.setOut(writer).setErr(writer));
    return Program.run(all, args);
  }

  @Test
  void everyProgramExplainsItselfAndSaysItsVersion() {
    List<List<String>> programs = new ArrayList<>();
    walk(Sfumato.commands(), List.of(), (words, c) -> programs.add(words));
    assertTrue(programs.size() >= 20, programs::toString);
    assertTrue(programs.contains(List.of("train", "ddpm")), programs::toString);
    assertTrue(programs.contains(List.of("report")), programs::toString);
    for (List<String> words : programs) {
      for (String option : List.of("--help", "--version")) {
        if (words.contains("completion") && option.equals("--version")) {
          continue; // picocli's own, which has the version of picocli
        }
        StringWriter out = new StringWriter();
        List<String> args = new ArrayList<>(words);
        args.add(option);
        assertEquals(0, run(out, args.toArray(String[]::new)), () -> args + ": " + out);
        String name = String.join(" ", words);
        String expected =
            option.equals("--help")
                ? "Usage: sfumato" + (name.isEmpty() ? "" : " " + name)
                : "Sfumato " + Version.current();
        assertTrue(out.toString().contains(expected), () -> args + ": " + out);
      }
    }
  }

  @Test
  void everyOptionAndProgramIsDescribed() {
    List<String> faults = new ArrayList<>();
    CommandLine all = Sfumato.commands();
    Config.addOption(all);
    walk(
        all,
        List.of(),
        (words, c) -> {
          if (words.contains("completion")) {
            return;
          }
          if (String.join("", c.getCommandSpec().usageMessage().description()).isBlank()) {
            faults.add(words + " has no description");
          }
          c.getCommandSpec()
              .options()
              .forEach(
                  o -> {
                    if (String.join("", o.description()).isBlank()) {
                      faults.add(words + " " + o.longestName() + " has no description");
                    }
                  });
          boolean group = !c.getSubcommands().isEmpty();
          assertEquals(
              group, c.getCommandSpec().findOption(Config.OPTION) == null, words::toString);
        });
    assertEquals(List.of(), faults);
  }

  @Test
  void wordsWithoutAProgramAreRefused() {
    StringWriter out = new StringWriter();
    assertEquals(2, run(out, "train", "unet"));
    assertTrue(out.toString().contains("unet"), out::toString);
    assertEquals(2, run(out, "train"));
    assertTrue(out.toString().contains("ddpm"), out::toString);
    assertEquals(2, run(out));
  }

  @Test
  void theShellCompletesProgramsAndOptions() throws Exception {
    assumeTrue(new File("/bin/bash").canExecute(), "no bash here");
    CommandLine all = Sfumato.commands();
    Config.addOption(all);
    Path script = Files.writeString(folder.resolve("sfumato"), AutoComplete.bash("sfumato", all));
    assertTrue(completions(script, "sfumato tr").contains("train"), "a program");
    assertTrue(completions(script, "sfumato train fl").contains("flow"), "a program in a group");
    List<String> options = completions(script, "sfumato train ddpm --s");
    assertTrue(options.contains("--steps"), options::toString);
    assertTrue(options.contains("--sampler"), options::toString);
    assertTrue(
        completions(script, "sfumato train ddpm --c").contains("--config"), "the common option");
    List<String> kinds = completions(script, "sfumato finetune --kind lo");
    assertTrue(kinds.contains("loha"), kinds::toString);
  }

  /** What bash offers for the last word of a line. */
  private List<String> completions(Path script, String line) throws Exception {
    String program =
        """
        source "$1"
        COMP_LINE="$2"; COMP_POINT=${#COMP_LINE}
        read -ra COMP_WORDS <<< "$2"; COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _complete_sfumato sfumato "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\\n' "${COMPREPLY[@]}"
        """;
    Process bash =
        new ProcessBuilder("/bin/bash", "--norc", "-c", program, "bash", script.toString(), line)
            .redirectErrorStream(true)
            .start();
    String said = new String(bash.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertTrue(bash.waitFor(20, TimeUnit.SECONDS), "bash ends");
    assertEquals(0, bash.exitValue(), said);
    return said.lines().map(String::strip).toList();
  }
}
