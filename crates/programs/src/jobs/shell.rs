//! The shell: ten thousand forks, pipelines, and the tools of coreutils.

use super::text::Numbers;
use crate::job::{Job, Need, Outcome};
use crate::place::Place;

const BASH: Need = Need::command("bash", "bash");

/// The family's jobs.
pub const JOBS: &[Job] = &[
    Job {
        name: "bash-forks",
        about: "bash forking ten thousand times, and starting some hundred programs",
        needs: &[BASH],
        limit: 120,
        prepare: None,
        run: forks,
    },
    Job {
        name: "bash-strings",
        about: "bash: arrays, growing strings, substitutions, command substitution",
        needs: &[BASH],
        limit: 120,
        prepare: None,
        run: strings,
    },
    Job {
        name: "text-tools",
        about: "sort in threads, awk, sed, grep, join and jq on a file of made-up prose",
        needs: &[BASH, Need::command("gawk", "gawk"), Need::command("jq", "jq")],
        limit: 120,
        prepare: Some(prose),
        run: text_tools,
    },
];

const FORKS: &str = r#"
sum=0
for ((i = 0; i < forks; i++)); do
  (exit $((i % 7)))
  sum=$((sum + $?))
done
echo "$sum"
for ((i = 0; i < 300; i++)); do /bin/true || echo "true failed"; done
for ((i = 0; i < 50; i++)); do (exit $((i % 5))) & pids[i]=$!; done
for pid in "${pids[@]}"; do wait "$pid"; sum=$((sum + $?)); done
echo "$sum"
"#;

fn forks(place: &mut Place) -> Outcome {
    let script = format!("forks={}\n{FORKS}", place.scale().pick(10_000, 100_000));
    let script = place.write("forks.sh", script)?;
    let step = place.subject("bash").arg(script);
    place.run_and_note("script", step)?;
    Ok(())
}

const STRINGS: &str = r#"
text=
for ((i = 0; i < rounds; i++)); do
  words[i]="word-$((i * 7919 % 1009))"
  text+="${words[i]} "
  map[i % 977]="${words[i]/word/thing}"
done
echo "${#text} ${#words[@]} ${#map[@]}"
echo "${text//[0-9]/x}" | cksum
unset 'words[5]' 'words[77]'
printf '%s\n' "${words[@]}" | sort | uniq -c | sort -rn -k1,1 -k2,2 | head -5
for ((i = 0; i < 200; i++)); do out="$out$(echo "$i" "${map[i]}")"; done
echo "$out" | cksum
"#;

fn strings(place: &mut Place) -> Outcome {
    let script = format!("declare -A map\nrounds={}\n{STRINGS}", place.scale().pick(20_000, 100_000));
    let script = place.write("strings.sh", script)?;
    let step = place.subject("bash").arg(script);
    place.run_and_note("script", step)?;
    Ok(())
}

fn prose(place: &mut Place) -> Outcome {
    let mut numbers = Numbers(11);
    let lines = place.scale().pick(150_000, 3_000_000);
    let mut text = String::new();
    let mut json = String::new();
    for number in 0..lines {
        let words = 1 + numbers.below(16);
        text.push_str(&format!("{} {}\n", numbers.below(50_000), numbers.line(words)));
        if number % 10 == 0 {
            let words = [numbers.word(), numbers.word()];
            json.push_str(&format!("{{\"id\":{number},\"words\":[\"{}\",\"{}\"]}}\n", words[0], words[1]));
        }
    }
    place.write("prose.txt", text)?;
    place.write("words.json", json)?;
    Ok(())
}

const TOOLS: &str = r#"
set -e
sort -S 40M --parallel=2 -k2 "$inputs/prose.txt" >sorted.txt
sort -n -u -k1,1 "$inputs/prose.txt" | wc -l
gawk '{ for (i = 2; i <= NF; i++) count[$i]++ } END { for (word in count) print count[word], word }' "$inputs/prose.txt" | sort -rn | head -30
sed -E 's/(ba|ke)+([a-z]*)/\2-\1/g' "$inputs/prose.txt" | cksum
grep -c -E '(fan|del).*(gir|hop).*jun' sorted.txt
join <(cut -d' ' -f1,2 sorted.txt | sort -u -k1,1) <(cut -d' ' -f1,3 "$inputs/prose.txt" | sort -u -k1,1) | cksum
jq -s 'group_by(.words[0]) | map({word: .[0].words[0], count: length}) | sort_by(-.count, .word) | .[:20]' "$inputs/words.json"
tr a-z A-Z <sorted.txt | rev | tac | fold -w 60 | cksum
"#;

fn text_tools(place: &mut Place) -> Outcome {
    let script = place.write("tools.sh", TOOLS)?;
    let step = place.subject("bash").arg(script).env("inputs", place.inputs());
    place.run_and_note("script", step)?;
    place.note_file("sorted.txt")
}
