// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Programs that are given a configuration file. */
class ConfigTest {
  @TempDir Path folder;

  static final class GroupConverter implements CommandLine.ITypeConverter<Settings> {
    @Override
    public Settings convert(String value) {
      return Settings.parse(value, Set.of("match", "learning_rate", "weight_decay"));
    }
  }

  static final class Rates implements Checked {
    @Option(names = "--learning-rate", defaultValue = "1e-3")
    double learningRate;

    @Option(names = "--optimizer") // the name of the section, too
    String kind = "adamw";

    @Option(names = "--parameter-groups", converter = GroupConverter.class)
    List<Settings> groups = new ArrayList<>();

    @Override
    public void check(Problems problems) {
      problems.require(learningRate > 0, "--learning-rate must be positive; got " + learningRate);
    }
  }

  enum Kind {
    lora,
    loha
  }

  @Command(name = "fit", mixinStandardHelpOptions = true)
  static final class Fit implements Callable<Integer>, Checked {
    @Mixin(name = "optimizer")
    Rates rates = new Rates();

    @Parameters(paramLabel = "MODEL", arity = "0..1")
    Path model;

    @Option(names = "--steps")
    Integer steps;

    @Option(names = "--minutes")
    Double minutes;

    @Option(names = "--events")
    boolean events;

    @Option(names = "--prompt")
    List<String> prompts = new ArrayList<>();

    @Option(names = "--negative", defaultValue = "")
    String negative;

    @Option(names = "--kind", defaultValue = "lora")
    Kind kind;

    @Option(names = "--checkpoint-steps")
    Integer checkpointSteps;

    @Option(names = "--resume")
    boolean resume;

    boolean ran;

    @Override
    public void check(Problems problems) {
      problems.require(
          steps == null || minutes == null, "--steps and --minutes exclude each other");
    }

    @Override
    public Integer call() {
      ran = true;
      return 0;
    }
  }

  private Fit fit;
  private final StringWriter errors = new StringWriter();
  private CommandLine command;

  private int run(String... args) {
    fit = new Fit();
    command = new CommandLine(fit).setErr(new PrintWriter(errors, true));
    return Program.run(command, args);
  }

  private String file(String name, String text) throws IOException {
    return Files.writeString(folder.resolve(name), text).toString();
  }

  private String error() {
    return errors.toString().replace(folder.toString() + "/", "").strip();
  }

  @Test
  void filesExtendFilesOverridesBeatThemAndOptionsBeatAll() throws Exception {
    file("base.yaml", "steps: 5\noptimizer:\n  learning_rate: 0.5\nprompt: [a, b]\nminutes: 7\n");
    file("more.yaml", "learning_rate: 0.25\nkind: loha\noptimizer: adam\n");
    String run =
        file(
            "run.yaml",
            """
            extends: [base.yaml, more.yaml]
            minutes: null
            events: true
            model: some/model
            checkpoint: {steps: 3}
            negative: "a: b, 'c'"
            """);
    assertEquals(0, run("--config", run, "steps=6", "optimizer.learning-rate=1e-4", "--steps=8"));
    assertEquals("", error());
    assertTrue(fit.ran);
    assertEquals(8, fit.steps);
    assertEquals(1e-4, fit.rates.learningRate);
    assertEquals("adam", fit.rates.kind);
    assertEquals(List.of("a", "b"), fit.prompts);
    assertEquals(Kind.loha, fit.kind);
    assertEquals(3, fit.checkpointSteps);
    assertEquals(Path.of("some/model"), fit.model);
    assertEquals("a: b, 'c'", fit.negative);
    assertTrue(fit.events);
    assertEquals(null, fit.minutes);

    assertEquals(0, run("--config=" + run, "events=false", "--prompt", "c", "other/model"));
    assertEquals(List.of("c"), fit.prompts); // a typed list replaces the file's
    assertEquals(Path.of("other/model"), fit.model);
    assertEquals(false, fit.events);
    assertEquals(5, fit.steps);
  }

  @Test
  void oneErrorTellsEverything() throws Exception {
    file("base.yaml", "minutes: 2\n");
    String run =
        file(
            "run.yaml",
            """
            extends: base.yaml
            stesp: 5
            steps: many
            optimzer:
              learning_rate: 1
            optimizer: {learning_rat: 3, learning_rate: 0}
            kind: lokr
            minutes: [1, 2]
            events: perhaps
            prompt: {a: b}
            checkpoint: 7
            model: here
            MODEL: there
            """);
    assertEquals(2, run("--config", run, "stps=9"));
    assertEquals(false, fit.ran);
    String expected =
        """
        12 things are wrong:
          run.yaml:2: unknown key stesp; the nearest known name is steps
          run.yaml:5: unknown key optimzer; the nearest known name is optimizer
          run.yaml:6: unknown key optimizer.learning_rat; the nearest known name is learning_rate
          run.yaml:11: unknown key checkpoint; the nearest known name is checkpoint_steps
          run.yaml:13: MODEL was given already, at run.yaml:12
          command line, stps=9: unknown key stps; the nearest known name is steps
          run.yaml:8: minutes takes one value; got a list of 2
          run.yaml:3: steps: Invalid value for option '--steps': 'many' is not an int
          run.yaml:7: kind: Invalid value for option '--kind': expected one of [lora, loha] (case-sensitive) but was 'lokr'
          run.yaml:9: events: Invalid value for option '--events': 'perhaps' is not a boolean
          run.yaml:10: prompt takes a value, no mapping
          --learning-rate must be positive; got 0.0 (--learning-rate is from run.yaml:6)\
        """;
    assertEquals(
        expected.lines().sorted().toList(), error().lines().sorted().toList(), this::error);
  }

  @Test
  void conflictsNameTheirPlaces() throws Exception {
    file("base.yaml", "\nminutes: 2\n");
    String run = file("run.yaml", "extends: base.yaml\n\nsteps: 5\n");
    assertEquals(2, run("--config", run));
    assertEquals(
        "--steps and --minutes exclude each other (--steps is from run.yaml:3; --minutes is from"
            + " base.yaml:2)",
        error());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "extends: run.yaml|run.yaml:1: extends run.yaml: extends goes round in a circle: run.yaml"
            + " extends run.yaml",
        "extends: gone.yaml|run.yaml:1: extends gone.yaml: gone.yaml: there is no such"
            + " configuration file",
        "extends: [[a]]|run.yaml:1: extends takes a file or a list of files",
        "a: &a [x, x]|run.yaml:1: the anchor &a is refused; put what is shared into a file and use"
            + " extends",
        "steps: *a|run.yaml:1: the alias *a is refused; put what is shared into a file and use"
            + " extends",
        "- steps|run.yaml:1: a configuration is a mapping, name: value; this is a list",
        "steps: 1\\nsteps: 2|run.yaml:2: steps was given already, at run.yaml:1",
        "steps: 1\\n---\\nsteps: 2|run.yaml:3: a second document begins; a configuration is one",
        "steps: !!int 1|run.yaml:1: the tag !tag:yaml.org,2002:int is refused; plain values need"
            + " none"
      })
  void whatIsNoConfigurationIsRefused(String text, String message) throws Exception {
    assertEquals(2, run("--config", file("run.yaml", text.replace("\\n", "\n"))));
    assertEquals(message, error());
    assertEquals(false, fit.ran);
  }

  @Test
  void brokenAndHugeFilesAreRefused() throws Exception {
    assertEquals(2, run("--config", file("broken.yaml", "steps: 1\nprompt: [a\n")));
    assertTrue(error().startsWith("broken.yaml:"), error());
    assertTrue(error().contains("is no YAML"), error());
    errors.getBuffer().setLength(0);
    String deep = file("deep.yaml", "a: " + "[".repeat(100_000));
    assertEquals(2, run("--config", deep));
    assertTrue(error().contains("is no YAML"), error());
    errors.getBuffer().setLength(0);
    String huge = file("huge.yaml", "#" + "x".repeat(ConfigReader.MAX_BYTES) + "\n");
    assertEquals(2, run("--config", huge));
    assertTrue(error().contains("a megabyte at most"), error());
  }

  @Test
  void valuesWithPartsAreMappings() throws Exception {
    String run =
        file(
            "run.yaml",
            """
            optimizer:
              parameter_groups:
                - {match: [down_blocks.**, 'mid,block'], learning_rate: 1e-5}
                - match=**.bias,weight_decay=0
            """);
    assertEquals(0, run("--config", run));
    assertEquals("", error());
    assertEquals("down_blocks.**|mid,block", fit.rates.groups.get(0).entries().get("match"));
    assertEquals("0", fit.rates.groups.get(1).entries().get("weight_decay"));

    assertEquals(2, run("--config", file("bad.yaml", "parameter_groups: [{mach: a, b: 1}]\n")));
    assertEquals(
        "bad.yaml:1: parameter_groups: Invalid value for option '--parameter-groups'"
            + " (<groups>): unknown mach; the nearest known name is match; unknown b; the nearest"
            + " known name is match, in mach=a,b=1",
        error());
  }

  @Test
  void theEffectiveConfigurationGivesTheSameRun() throws Exception {
    String run =
        file(
            "run.yaml",
            """
            steps: 5
            learning_rate: 1e-4
            prompt: ['~', 'null', 'no', '1e3', "a\\nb: #c"]
            kind: loha
            resume: true
            events: true
            parameter_groups: [{match: '**.bias', weight_decay: 0}]
            """);
    assertEquals(0, run("--config", run, "some/model"));
    String first = EffectiveConfig.text(command.getCommandSpec());
    List<String> prompts = fit.prompts;
    assertEquals(0, run("--config", file("config.yaml", first)));
    assertEquals("", error());
    assertEquals(first, EffectiveConfig.text(command.getCommandSpec()));
    assertEquals(prompts, fit.prompts);
    assertEquals(Path.of("some/model"), fit.model);
    assertEquals(1e-4, fit.rates.learningRate);
    assertEquals(false, fit.resume); // belongs to a start, not to the run
  }
}
