//! Learning-rate schedules against PyTorch, and at their edges.

use recurve::schedule::{Anneal, OneCycle, Schedule};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The goldens of this repository, or another folder of the same form.
pub fn goldens() -> PathBuf {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    std::env::var_os("RECURVE_GOLDENS").map_or_else(own, PathBuf::from)
}

pub fn number(hyper: &Value, name: &str, default: f64) -> f64 {
    hyper.get(name).map_or(default, |v| v.as_f64().unwrap_or_else(|| panic!("{name} is not a number: {v}")))
}

fn count(hyper: &Value, name: &str) -> u64 {
    hyper[name].as_u64().unwrap_or_else(|| panic!("no count {name} in {hyper}"))
}

/// The schedule that the attributes of a golden case describe.
pub fn schedule_of(attrs: &Value) -> Schedule {
    let hyper = &attrs["hyper"];
    let lr = attrs["base_lr"].as_f64().unwrap();
    let step =
        || Schedule::Step { lr, step_size: count(hyper, "step_size"), gamma: number(hyper, "gamma", 0.1) };
    let linear = |steps: &str| Schedule::LinearWarmup {
        lr,
        start_factor: number(hyper, "start_factor", 1.0 / 3.0),
        total_iters: count(hyper, steps),
    };
    let eta_min = number(hyper, "eta_min", 0.0);
    match attrs["kind"].as_str().unwrap() {
        "constant" => Schedule::Constant { lr },
        "step" => step(),
        "multistep" => {
            let milestones =
                hyper["milestones"].as_array().unwrap().iter().map(|m| m.as_u64().unwrap()).collect();
            Schedule::MultiStep { lr, milestones, gamma: number(hyper, "gamma", 0.1) }
        }
        "exponential" => Schedule::Exponential { lr, gamma: number(hyper, "gamma", f64::NAN) },
        "polynomial" => Schedule::Polynomial {
            lr,
            total_iters: count(hyper, "total_iters"),
            power: number(hyper, "power", 1.0),
        },
        "cosine" => Schedule::Cosine { lr, t_max: count(hyper, "T_max"), eta_min },
        "cosine_restarts" => Schedule::CosineRestarts {
            lr,
            t_0: count(hyper, "T_0"),
            t_mult: hyper.get("T_mult").map_or(1, |v| v.as_u64().unwrap()),
            eta_min,
        },
        "one_cycle" => {
            let defaults = OneCycle::new(number(hyper, "max_lr", f64::NAN), count(hyper, "total_steps"));
            Schedule::OneCycle(OneCycle {
                pct_start: number(hyper, "pct_start", defaults.pct_start),
                anneal_strategy: match hyper.get("anneal_strategy").and_then(Value::as_str) {
                    Some("linear") => Anneal::Linear,
                    Some("cos") | None => Anneal::Cos,
                    Some(other) => panic!("anneal_strategy {other}"),
                },
                div_factor: number(hyper, "div_factor", defaults.div_factor),
                final_div_factor: number(hyper, "final_div_factor", defaults.final_div_factor),
                three_phase: hyper.get("three_phase").is_some_and(|v| v.as_bool().unwrap()),
                ..defaults
            })
        }
        "linear_warmup" => linear("total_iters"),
        "warmup_cosine" => Schedule::WarmupCosine {
            lr,
            warmup_steps: count(hyper, "warmup_steps"),
            total_steps: count(hyper, "total_steps"),
            eta_min,
        },
        "linear_warmup_then_step" => Schedule::Sequence {
            first: Box::new(linear("warmup_steps")),
            milestone: count(hyper, "warmup_steps"),
            then: Box::new(step()),
        },
        other => panic!("a golden case of an unknown schedule: {other}"),
    }
}

#[test]
fn schedules_agree_with_pytorch() {
    let folder = goldens();
    let manifest: Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("manifest.json")).unwrap()).unwrap();
    let mut cases = 0;
    for case in manifest["cases"].as_array().unwrap().iter().filter(|case| case["op"] == "lr_schedule") {
        let name = case["name"].as_str().unwrap();
        let schedule = schedule_of(&case["attrs"]);
        let file = std::fs::read(folder.join(case["file"].as_str().unwrap())).unwrap();
        let stored = safetensors::SafeTensors::deserialize(&file).unwrap();
        let lr: Vec<f32> = bytemuck::pod_collect_to_vec(stored.tensor("lr").unwrap().data());
        assert_eq!(lr.len() as u64, case["attrs"]["steps"].as_u64().unwrap(), "{name}");

        // The exact values are rounded too: PyTorch iterates, so where the rate comes close to zero, only
        // the size of the whole schedule tells how exact they are.
        let rounding = 1e-15 * f64::from(lr.iter().copied().fold(0.0, f32::max));
        let exact = case.get("lr_f64").map(|v| v.as_array().unwrap());
        for (step, &lr) in lr.iter().enumerate() {
            let got = schedule.at(step as u64);
            let check = |want: f64, tolerance: f64| {
                let error = (got - want).abs();
                let allowed = tolerance * want.abs() + rounding;
                assert!(error <= allowed, "{name}, step {step}: {got:e} instead of {want:e}");
            };
            check(f64::from(lr), 1e-7);
            if let Some(exact) = exact {
                check(exact[step].as_f64().unwrap(), 1e-12);
            }
        }
        cases += 1;
    }
    assert!(cases >= 11, "only {cases} cases of schedules in {}", folder.display());
    println!("{cases} schedules agree with PyTorch");
}

#[track_caller]
fn assert_close(got: f64, want: f64) {
    assert!((got - want).abs() <= 1e-12 * want.abs(), "{got:e} instead of {want:e}");
}

#[test]
fn polynomial_and_constant_follow_their_formulas() {
    let line = Schedule::Polynomial { lr: 0.2, total_iters: 4, power: 1.0 };
    let lr: Vec<f64> = (0..6).map(|step| line.at(step)).collect();
    assert_eq!(lr, [0.2, 0.15000000000000002, 0.1, 0.05, 0.0, 0.0]);
    let square = Schedule::Polynomial { lr: 0.2, total_iters: 4, power: 2.0 };
    assert_close(square.at(1), 0.2 * 0.5625);
    assert_eq!(Schedule::Constant { lr: 0.3 }.at(u64::MAX), 0.3);
}

#[test]
fn a_finished_schedule_stays_where_it_ended() {
    let warmup = Schedule::WarmupCosine { lr: 0.1, warmup_steps: 10, total_steps: 100, eta_min: 1e-5 };
    assert_close(warmup.at(100), 1e-5);
    assert_close(warmup.at(u64::MAX), 1e-5);
    let cycle = OneCycle::new(0.1, 50);
    let last = 0.1 / 25.0 / 1e4;
    assert_close(Schedule::OneCycle(cycle.clone()).at(49), last);
    assert_close(Schedule::OneCycle(cycle).at(50), last);
    let line = Schedule::LinearWarmup { lr: 0.1, start_factor: 0.5, total_iters: 3 };
    assert_close(line.at(u64::MAX), 0.1);
}

#[test]
fn one_cycle_of_three_phases_is_symmetric() {
    let cycle = OneCycle { three_phase: true, pct_start: 0.4, ..OneCycle::new(1.0, 50) };
    let schedule = Schedule::OneCycle(cycle);
    // The rise ends at step 0.4 · 50 − 1, the mirrored fall after as many steps again.
    assert_close(schedule.at(19), 1.0);
    assert_close(schedule.at(38), 1.0 / 25.0);
    for step in 0..=19 {
        assert_close(schedule.at(19 + step), schedule.at(19 - step));
    }
    assert_close(schedule.at(49), 1.0 / 25.0 / 1e4);
}

#[test]
fn cosine_is_periodic_and_restarts_are_sudden() {
    let cosine = Schedule::Cosine { lr: 0.1, t_max: 10, eta_min: 0.01 };
    assert_eq!(cosine.at(0), cosine.at(20_000_000));
    let restarts = Schedule::CosineRestarts { lr: 0.1, t_0: 10, t_mult: 3, eta_min: 0.01 };
    for restart in [0, 10, 40, 130] {
        assert_close(restarts.at(restart), 0.1);
        assert!(restart == 0 || restarts.at(restart - 1) < 0.02);
    }
}

#[test]
fn every_schedule_is_finite_for_degenerate_lengths_and_huge_steps() {
    let lr = 0.1;
    let schedules = [
        Schedule::Step { lr, step_size: 0, gamma: 0.5 },
        Schedule::MultiStep { lr, milestones: vec![], gamma: 0.5 },
        Schedule::Exponential { lr, gamma: 0.9 },
        Schedule::Polynomial { lr, total_iters: 0, power: 0.5 },
        Schedule::Cosine { lr, t_max: 0, eta_min: 0.0 },
        Schedule::Cosine { lr, t_max: u64::MAX, eta_min: 0.0 },
        Schedule::CosineRestarts { lr, t_0: 0, t_mult: 0, eta_min: 0.0 },
        Schedule::CosineRestarts { lr, t_0: 1, t_mult: u64::MAX, eta_min: 0.0 },
        Schedule::OneCycle(OneCycle::new(lr, 0)),
        Schedule::OneCycle(OneCycle { pct_start: 0.0, ..OneCycle::new(lr, 5) }),
        Schedule::OneCycle(OneCycle { pct_start: 1.0, three_phase: true, ..OneCycle::new(lr, 5) }),
        Schedule::LinearWarmup { lr, start_factor: 0.0, total_iters: 0 },
        Schedule::WarmupCosine { lr, warmup_steps: 7, total_steps: 3, eta_min: 0.0 },
        Schedule::WarmupCosine { lr, warmup_steps: 0, total_steps: 0, eta_min: 0.0 },
    ];
    for schedule in schedules {
        for step in (0..20).chain([1 << 32, u64::MAX - 1, u64::MAX]) {
            let lr = schedule.at(step);
            assert!((0.0..=0.1 + 1e-15).contains(&lr), "{schedule:?} at {step}: {lr}");
        }
    }
}
