//! A small Lisp whose machine can stop behind every step: all its state, its stack too, lies in the heap of whatever collector.

use freestone_gc::{Collector, Gc, GcCell, GcConfig, GcStats, Heap, Mutation, Trace};

#[derive(Clone, Copy, Trace)]
pub enum Value<'gc> {
    Nil,
    Bool(bool),
    Int(i64),
    Symbol(usize),
    Pair(Gc<'gc, Pair<'gc>>),
    Closure(Gc<'gc, Closure<'gc>>),
    Builtin(usize),
}

use Value::{Bool, Builtin, Int, Nil, Symbol};

#[derive(Trace)]
pub struct Pair<'gc> {
    car: GcCell<Value<'gc>>,
    cdr: GcCell<Value<'gc>>,
}

#[derive(Trace)]
pub struct Closure<'gc> {
    parameters: Value<'gc>,
    body: Value<'gc>,
    scope: Gc<'gc, Scope<'gc>>,
}

/// Variables as a list of pairs (name . value).
#[derive(Trace)]
pub struct Scope<'gc> {
    variables: GcCell<Value<'gc>>,
    parent: Option<Gc<'gc, Scope<'gc>>>,
}

/// What is to be done with a value.
#[derive(Clone, Copy, Trace)]
enum Then<'gc> {
    If {
        yes: Value<'gc>,
        no: Value<'gc>,
    },
    Define {
        name: usize,
    },
    Set {
        name: usize,
    },
    Sequence {
        rest: Value<'gc>,
    },
    /// The values of a call's parts so far, the last first; the parts still to be evaluated.
    Call {
        done: Value<'gc>,
        rest: Value<'gc>,
    },
}

#[derive(Trace)]
struct Frame<'gc> {
    then: Then<'gc>,
    scope: Gc<'gc, Scope<'gc>>,
    below: Option<Gc<'gc, Frame<'gc>>>,
}

#[derive(Clone, Copy, Trace)]
enum Control<'gc> {
    Evaluate(Value<'gc>, Gc<'gc, Scope<'gc>>),
    Return(Value<'gc>),
}

/// The root: an interpreter at work.
#[derive(Trace)]
pub struct Machine<'gc> {
    names: Vec<String>,
    global: Gc<'gc, Scope<'gc>>,
    control: Control<'gc>,
    stack: Option<Gc<'gc, Frame<'gc>>>,
    /// What is to be evaluated next, when the stack is empty.
    program: Value<'gc>,
    pub output: Vec<String>,
}

const FORMS: [&str; 6] = ["quote", "if", "define", "set!", "lambda", "begin"];
const BUILTINS: [&str; 13] =
    ["+", "-", "*", "<", "=", "cons", "car", "cdr", "null?", "set-car!", "set-cdr!", "print", "remainder"];

fn cons<'gc, C: Collector>(mc: &Mutation<'gc, C>, car: Value<'gc>, cdr: Value<'gc>) -> Value<'gc> {
    Value::Pair(mc.alloc(Pair { car: GcCell::new(car), cdr: GcCell::new(cdr) }))
}

fn pair(value: Value<'_>) -> Result<Gc<'_, Pair<'_>>, String> {
    match value {
        Value::Pair(pair) => Ok(pair),
        _ => Err("a pair was expected".to_owned()),
    }
}

fn int(value: Value<'_>) -> Result<i64, String> {
    match value {
        Int(number) => Ok(number),
        _ => Err("a number was expected".to_owned()),
    }
}

fn symbol(value: Value<'_>) -> Result<usize, String> {
    match value {
        Symbol(name) => Ok(name),
        _ => Err("a name was expected".to_owned()),
    }
}

/// The first element, and the others.
fn split(list: Value<'_>) -> Result<(Value<'_>, Value<'_>), String> {
    pair(list).map(|pair| (pair.car.get(), pair.cdr.get()))
}

/// The first two elements, and the others.
fn split_two(list: Value<'_>) -> Result<(Value<'_>, Value<'_>, Value<'_>), String> {
    let (first, rest) = split(list)?;
    let (second, rest) = split(rest)?;
    Ok((first, second, rest))
}

fn lookup<'gc>(scope: Gc<'gc, Scope<'gc>>, name: usize) -> Option<Gc<'gc, Pair<'gc>>> {
    let mut scope = Some(scope);
    while let Some(here) = scope {
        let mut list = here.variables.get();
        while let Value::Pair(entry) = list {
            if let Value::Pair(variable) = entry.car.get()
                && matches!(variable.car.get(), Symbol(found) if found == name)
            {
                return Some(variable);
            }
            list = entry.cdr.get();
        }
        scope = here.parent;
    }
    None
}

fn define<'gc, C: Collector>(
    mc: &Mutation<'gc, C>,
    scope: Gc<'gc, Scope<'gc>>,
    name: usize,
    value: Value<'gc>,
) {
    let variable = cons(mc, Symbol(name), value);
    let variables = cons(mc, variable, scope.variables.get());
    scope.set(mc, |scope| &scope.variables, variables);
}

impl<'gc> Machine<'gc> {
    pub fn new<C: Collector>(mc: &Mutation<'gc, C>) -> Self {
        let global = mc.alloc(Scope { variables: GcCell::new(Nil), parent: None });
        let names: Vec<String> = FORMS.iter().chain(&BUILTINS).map(|&name| name.to_owned()).collect();
        for number in 0..BUILTINS.len() {
            define(mc, global, FORMS.len() + number, Builtin(number));
        }
        Machine {
            names,
            global,
            control: Control::Return(Nil),
            stack: None,
            program: Nil,
            output: Vec::new(),
        }
    }

    /// Reads a program; it is evaluated by [`step`](Machine::step).
    pub fn load<C: Collector>(&mut self, mc: &Mutation<'gc, C>, source: &str) -> Result<(), String> {
        let spaced = source.replace('(', " ( ").replace(')', " ) ");
        let mut tokens = spaced.split_whitespace().rev();
        // From the end to the beginning, so that lists grow at their heads.
        let mut open = Vec::new();
        let mut list = Nil;
        for token in &mut tokens {
            match token {
                ")" => open.push(core::mem::replace(&mut list, Nil)),
                "(" => list = cons(mc, list, open.pop().ok_or("a ( without a )")?),
                _ => list = cons(mc, self.atom(token), list),
            }
        }
        self.program = list;
        if open.is_empty() { Ok(()) } else { Err("a ) without a (".to_owned()) }
    }

    fn atom(&mut self, token: &str) -> Value<'gc> {
        match token {
            "#t" => Bool(true),
            "#f" => Bool(false),
            _ => match token.parse() {
                Ok(number) => Int(number),
                Err(_) => Symbol(self.names.iter().position(|name| name == token).unwrap_or_else(|| {
                    self.names.push(token.to_owned());
                    self.names.len() - 1
                })),
            },
        }
    }

    fn push<C: Collector>(&mut self, mc: &Mutation<'gc, C>, then: Then<'gc>, scope: Gc<'gc, Scope<'gc>>) {
        self.stack = Some(mc.alloc(Frame { then, scope, below: self.stack }));
    }

    /// One step; says whether there is nothing left to do.
    pub fn step<C: Collector>(&mut self, mc: &Mutation<'gc, C>) -> Result<bool, String> {
        match self.control {
            Control::Evaluate(expression, scope) => self.evaluate(mc, expression, scope)?,
            Control::Return(value) => match self.stack {
                Some(frame) => {
                    self.stack = frame.below;
                    self.go_on(mc, value, frame)?;
                }
                None => match self.program {
                    Nil => return Ok(true),
                    program => {
                        let (first, rest) = split(program)?;
                        self.program = rest;
                        self.control = Control::Evaluate(first, self.global);
                    }
                },
            },
        }
        Ok(false)
    }

    fn evaluate<C: Collector>(
        &mut self,
        mc: &Mutation<'gc, C>,
        expression: Value<'gc>,
        scope: Gc<'gc, Scope<'gc>>,
    ) -> Result<(), String> {
        let (head, rest) = match expression {
            Symbol(name) => {
                let variable =
                    lookup(scope, name).ok_or_else(|| format!("{} is not defined", self.names[name]))?;
                self.control = Control::Return(variable.cdr.get());
                return Ok(());
            }
            Value::Pair(pair) => (pair.car.get(), pair.cdr.get()),
            value => {
                self.control = Control::Return(value);
                return Ok(());
            }
        };
        let form = match head {
            Symbol(name) => FORMS.get(name).copied().unwrap_or(""),
            _ => "",
        };
        self.control = match form {
            "quote" => Control::Return(split(rest)?.0),
            "if" => {
                let (condition, yes, rest) = split_two(rest)?;
                let no = if matches!(rest, Nil) { Nil } else { split(rest)?.0 };
                self.push(mc, Then::If { yes, no }, scope);
                Control::Evaluate(condition, scope)
            }
            "define" | "set!" => {
                let (name, value, _) = split_two(rest)?;
                let name = symbol(name)?;
                let then = if form == "define" { Then::Define { name } } else { Then::Set { name } };
                self.push(mc, then, scope);
                Control::Evaluate(value, scope)
            }
            "lambda" => {
                let (parameters, body) = split(rest)?;
                Control::Return(Value::Closure(mc.alloc(Closure { parameters, body, scope })))
            }
            "begin" => return self.sequence(mc, rest, scope),
            _ => {
                self.push(mc, Then::Call { done: Nil, rest }, scope);
                Control::Evaluate(head, scope)
            }
        };
        Ok(())
    }

    /// Expressions one after the other. The last takes the place of what it is in: a tail call needs no stack.
    fn sequence<C: Collector>(
        &mut self,
        mc: &Mutation<'gc, C>,
        list: Value<'gc>,
        scope: Gc<'gc, Scope<'gc>>,
    ) -> Result<(), String> {
        let (first, rest) = split(list)?;
        if !matches!(rest, Nil) {
            self.push(mc, Then::Sequence { rest }, scope);
        }
        self.control = Control::Evaluate(first, scope);
        Ok(())
    }

    fn go_on<C: Collector>(
        &mut self,
        mc: &Mutation<'gc, C>,
        value: Value<'gc>,
        frame: Gc<'gc, Frame<'gc>>,
    ) -> Result<(), String> {
        let scope = frame.scope;
        match frame.then {
            Then::If { yes, no } => {
                let chosen = if matches!(value, Bool(false)) { no } else { yes };
                self.control = Control::Evaluate(chosen, scope);
            }
            Then::Define { name } => {
                define(mc, scope, name, value);
                self.control = Control::Return(Nil);
            }
            Then::Set { name } => {
                let variable =
                    lookup(scope, name).ok_or_else(|| format!("{} is not defined", self.names[name]))?;
                variable.set(mc, |variable| &variable.cdr, value);
                self.control = Control::Return(Nil);
            }
            Then::Sequence { rest } => return self.sequence(mc, rest, scope),
            Then::Call { done, rest } => {
                let done = cons(mc, value, done);
                if let Value::Pair(pair) = rest {
                    self.push(mc, Then::Call { done, rest: pair.cdr.get() }, scope);
                    self.control = Control::Evaluate(pair.car.get(), scope);
                } else {
                    return self.call(mc, done);
                }
            }
        }
        Ok(())
    }

    /// A call whose parts are evaluated; the last comes first.
    fn call<C: Collector>(&mut self, mc: &Mutation<'gc, C>, mut reversed: Value<'gc>) -> Result<(), String> {
        let mut arguments = Nil;
        while let Value::Pair(pair) = reversed {
            arguments = cons(mc, pair.car.get(), arguments);
            reversed = pair.cdr.get();
        }
        let (function, mut arguments) = split(arguments)?;
        match function {
            Builtin(number) => {
                let result = self.builtin(mc, BUILTINS[number], arguments)?;
                self.control = Control::Return(result);
                Ok(())
            }
            Value::Closure(closure) => {
                let scope = mc.alloc(Scope { variables: GcCell::new(Nil), parent: Some(closure.scope) });
                let mut parameters = closure.parameters;
                while let Value::Pair(parameter) = parameters {
                    let (argument, rest) = split(arguments)?;
                    define(mc, scope, symbol(parameter.car.get())?, argument);
                    (parameters, arguments) = (parameter.cdr.get(), rest);
                }
                self.sequence(mc, closure.body, scope)
            }
            _ => Err("only a function can be called".to_owned()),
        }
    }

    fn builtin<C: Collector>(
        &mut self,
        mc: &Mutation<'gc, C>,
        name: &str,
        arguments: Value<'gc>,
    ) -> Result<Value<'gc>, String> {
        let (first, rest) = split(arguments)?;
        match name {
            "car" => return Ok(pair(first)?.car.get()),
            "cdr" => return Ok(pair(first)?.cdr.get()),
            "null?" => return Ok(Bool(matches!(first, Nil))),
            "print" => {
                let text = self.show(first);
                self.output.push(text);
                return Ok(Nil);
            }
            _ => {}
        }
        let second = split(rest)?.0;
        Ok(match name {
            "+" => Int(int(first)?.wrapping_add(int(second)?)),
            "-" => Int(int(first)?.wrapping_sub(int(second)?)),
            "*" => Int(int(first)?.wrapping_mul(int(second)?)),
            "remainder" => Int(int(first)?.checked_rem(int(second)?).ok_or("a remainder by zero")?),
            "<" => Bool(int(first)? < int(second)?),
            "=" => Bool(int(first)? == int(second)?),
            "cons" => cons(mc, first, second),
            "set-car!" => {
                pair(first)?.set(mc, |pair| &pair.car, second);
                Nil
            }
            _ => {
                pair(first)?.set(mc, |pair| &pair.cdr, second);
                Nil
            }
        })
    }

    fn show(&self, value: Value<'gc>) -> String {
        match value {
            Nil => "()".to_owned(),
            Bool(value) => if value { "#t" } else { "#f" }.to_owned(),
            Int(number) => number.to_string(),
            Symbol(name) => self.names[name].clone(),
            Value::Closure(_) | Builtin(_) => "#<function>".to_owned(),
            Value::Pair(_) => {
                let mut parts = Vec::new();
                let mut rest = value;
                while let Value::Pair(pair) = rest {
                    parts.push(self.show(pair.car.get()));
                    rest = pair.cdr.get();
                }
                if !matches!(rest, Nil) {
                    parts.extend([".".to_owned(), self.show(rest)]);
                }
                format!("({})", parts.join(" "))
            }
        }
    }
}

/// Runs a program on a collector; returns what it printed, and what that cost.
pub fn run<C: Collector<Parent: Default>>(
    config: GcConfig,
    source: &str,
) -> Result<(Vec<String>, GcStats), String> {
    let mut heap =
        Heap::<Machine<'static>, C>::with_config(config, C::Parent::default(), |mc| Machine::new(mc));
    heap.mutate(|mc, machine| machine.load(mc, source))?;
    let go_on = |heap: &mut Heap<Machine<'static>, C>| {
        heap.mutate(|mc, machine| {
            loop {
                if machine.step(mc)? {
                    return Ok(true);
                }
                if mc.should_yield() {
                    return Ok::<_, String>(false);
                }
            }
        })
    };
    while !go_on(&mut heap)? {}
    let output = heap.mutate(|_, machine| core::mem::take(&mut machine.output));
    Ok((output, heap.stats()))
}

/// Programs, and what they print.
pub const PROGRAMS: &[(&str, &str, &[&str])] = &[
    ("fib", "(define fib (lambda (n) (if (< n 2) n (+ (fib (- n 1)) (fib (- n 2)))))) (print (fib 9))", &["34"]),
    (
        "counters that share",
        "(define make (lambda (n) (cons (lambda () (begin (set! n (+ n 1)) n)) (lambda () n))))
         (define c (make 5)) ((car c)) ((car c)) (print ((cdr c)))
         (define d (make 0)) ((car d)) (print (cons ((cdr c)) ((cdr d))))",
        &["7", "(7 . 1)"],
    ),
    (
        "deep recursion",
        "(define sum (lambda (n) (if (= n 0) 0 (+ n (sum (- n 1)))))) (print (sum 100))",
        &["5050"],
    ),
    (
        "a queue by mutation",
        "(define q (cons (quote ()) (quote ())))
         (define put (lambda (x) ((lambda (cell)
           (begin (if (null? (car q)) (set-car! q cell) (set-cdr! (cdr q) cell)) (set-cdr! q cell))) (cons x (quote ())))))
         (define fill (lambda (n) (if (= n 0) (quote done) (begin (put n) (fill (- n 1))))))
         (define take (lambda () ((lambda (x) (begin (set-car! q (cdr (car q))) x)) (car (car q)))))
         (print (fill 12)) (take) (take) (print (take)) (print (cdr (cdr q)))",
        &["done", "10", "()"],
    ),
    (
        "sieve",
        "(define range (lambda (a b) (if (< a b) (cons a (range (+ a 1) b)) (quote ()))))
         (define filter (lambda (f l) (if (null? l) l (if (f (car l)) (cons (car l) (filter f (cdr l))) (filter f (cdr l))))))
         (define sieve (lambda (l) (if (null? l) l
           (cons (car l) (sieve (filter (lambda (n) (if (= 0 (remainder n (car l))) #f #t)) (cdr l)))))))
         (print (sieve (range 2 20)))",
        &["(2 3 5 7 11 13 17 19)"],
    ),
    (
        "a ring",
        "(define ring (cons 1 (cons 2 (cons 3 (quote ()))))) (set-cdr! (cdr (cdr ring)) ring)
         (define walk (lambda (at n) (if (= n 0) (car at) (walk (cdr at) (- n 1))))) (print (walk ring 31))",
        &["2"],
    ),
];
