//! The SFTP settings: where copies go, with what, and a test that tests all of it.

use crate::api::off_site::{
    ApproveHostKey, GenerateSftpKey, ResetSftp, SaveSftp, SftpPage, TestSftp, Told, TrustHostKey, read_sftp,
};
use crate::model::address::lookup;
use crate::model::{
    AppError, Checklist, HostKeyFound, Outcome, SecretsAtHand, SftpAuth, SftpField, SftpForm, SftpProblem,
    SftpSettings, StepOutcome, StepState, human,
};
use crate::ui::chrome::{Chrome, Place};
use crate::ui::notice::{Alert, Told as Telling};
use leptos::ev::SubmitEvent;
use leptos::form::FromFormData;
use leptos::html;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos_router::hooks::use_location;

/// The settings page.
#[component]
pub fn SftpSettingsPage() -> impl IntoView {
    let search = use_location().search;
    let outcome = Memo::new(move |_| search.with(|search| lookup(search, "outcome")));
    let page = Resource::new(move || outcome.get(), read_sftp);
    let desk = Desk {
        save: ServerAction::new(),
        test: ServerAction::new(),
        approve: ServerAction::new(),
        trust: ServerAction::new(),
        generate: ServerAction::new(),
        reset: ServerAction::new(),
        told: RwSignal::new(None),
        problems: RwSignal::new(Vec::new()),
        form: NodeRef::new(),
        asking: RwSignal::new(false),
    };
    act_on_answers(&desk, page);
    view! {
        <Chrome place=Place::Settings>
            <Transition fallback=|| view! { <p class="loading">"Reading the settings…"</p> }>
                {move || Suspend::new(async move {
                    match page.await {
                        Ok(page) => view! { <Shown page desk /> }.into_any(),
                        Err(error) => {
                            view! {
                                <h1>"SFTP settings"</h1>
                                <Alert message=error.to_string() detail=None />
                            }
                                .into_any()
                        }
                    }
                })}
            </Transition>
        </Chrome>
    }
}

/// What outlives a reading of the settings.
#[derive(Clone, Copy)]
struct Desk {
    save: ServerAction<SaveSftp>,
    test: ServerAction<TestSftp>,
    approve: ServerAction<ApproveHostKey>,
    trust: ServerAction<TrustHostKey>,
    generate: ServerAction<GenerateSftpKey>,
    reset: ServerAction<ResetSftp>,
    /// What the last action came to.
    told: RwSignal<Option<Told>>,
    /// What the page itself finds wrong with the form.
    problems: RwSignal<Vec<SftpProblem>>,
    form: NodeRef<html::Form>,
    /// Whether the page asks if it is to forget everything.
    asking: RwSignal<bool>,
}

impl Desk {
    fn is_busy(self) -> bool {
        self.save.pending().get() || self.test.pending().get() || self.approve.pending().get()
    }
}

/// Tells how actions ended. What was stored is read again; what was typed and not stored stays.
fn act_on_answers(desk: &Desk, page: Resource<Result<SftpPage, AppError>>) {
    let Desk { save, test, approve, trust, generate, reset, told, form, asking, .. } = *desk;
    let tell = move |answer: Result<Told, AppError>| {
        let answer = answer.unwrap_or_else(|error| Outcome::refused(error.to_string()).into());
        let went_well = answer.outcome.bad.is_empty();
        told.set(Some(answer));
        went_well
    };
    let renewing = StoredValue::new(false);
    // Read again, the fields show what is stored, and secrets that were typed are gone from the page.
    Effect::new(move |_| {
        page.track();
        if let (true, Some(form)) = (renewing.get_value(), form.get_untracked()) {
            renewing.set_value(false);
            request_animation_frame(move || form.reset());
        }
    });
    let follow = move |answer: Signal<Option<Result<Told, AppError>>>, renews: bool| {
        Effect::new(move |_| {
            if answer.get().is_some_and(tell) {
                renewing.set_value(renews);
                page.refetch();
            }
        });
    };
    follow(Signal::derive(move || save.value().get()), true);
    follow(Signal::derive(move || reset.value().get()), true);
    follow(Signal::derive(move || approve.value().get()), false);
    follow(Signal::derive(move || trust.value().get()), false);
    follow(Signal::derive(move || generate.value().get()), false);
    Effect::new(move |_| {
        if let Some(answer) = test.value().get() {
            tell(answer);
        }
    });
    Effect::new(move |_| {
        reset.version().track();
        asking.set(false);
    });
}

#[component]
fn Shown(page: SftpPage, desk: Desk) -> impl IntoView {
    let SftpPage { settings, told } = page;
    // A form that was tried and not stored comes back as it was typed, without its secrets.
    let form = told.as_ref().and_then(|told| told.form.clone()).unwrap_or_else(|| settings.form.clone());
    let opened = told.clone();
    let now = move || desk.told.get().or_else(|| opened.clone()).unwrap_or_default();
    let now = Memo::new(move |_| now());
    let checklist =
        move || now.get().checklist.map(|checklist| view! { <Steps checklist form=now.get().form desk /> });
    let found = move || {
        let problems = desk.problems.get();
        problems
            .into_iter()
            .map(|problem| view! { <Alert message=problem.sentence detail=None /> })
            .collect_view()
    };
    view! {
        <div class="head">
            <div>
                <h1>"SFTP settings"</h1>
                <p class="sub">"Where copies of the backups go, so that they outlive this machine."</p>
            </div>
        </div>
        <div class="halves">
            <Form form settings=settings.clone() desk />
            <div class="beside">
                <Telling outcome=move || now.get().outcome bad=found />
                {checklist}
                <Trusted settings=settings.clone() />
            </div>
            <div class="column">
                <OwnKey settings=settings.clone() desk />
                <Forget desk />
            </div>
        </div>
    }
}

/// The form. Without JavaScript its buttons post it to where each leads.
#[component]
fn Form(form: SftpForm, settings: SftpSettings, desk: Desk) -> impl IntoView {
    let stored = (settings.password_set, settings.private_key_set, settings.passphrase_set);
    let submit = move |event: SubmitEvent| {
        let action = event.submitter().and_then(|button| button.get_attribute("formaction"));
        let Ok(SaveSftp { entry }) = SaveSftp::from_event(&event) else { return };
        event.prevent_default();
        if desk.is_busy() {
            return;
        }
        let testing = action.as_deref() == Some(TestSftp::url());
        desk.told.set(None);
        desk.problems.set(Vec::new());
        if action.as_deref() == Some(TrustHostKey::url()) {
            if let Ok(asked) = TrustHostKey::from_event(&event) {
                desk.trust.dispatch(asked);
            }
            return;
        }
        let at_hand = SecretsAtHand {
            password: !entry.password.is_empty() || (stored.0 && entry.remove_password.is_none()),
            private_key: !entry.private_key.is_empty() || (stored.1 && entry.remove_private_key.is_none()),
        };
        let typed = entry.form().tidied();
        let problems = if testing { typed.problems_for_check(at_hand) } else { typed.problems(at_hand) };
        if !problems.is_empty() {
            desk.problems.set(problems);
        } else if testing {
            desk.test.dispatch(TestSftp { entry });
        } else {
            desk.save.dispatch(SaveSftp { entry });
        }
    };
    let auths = SftpAuth::ALL.map(|auth| {
        view! {
            <option value=auth.value() selected=auth == form.auth>
                {auth.label()}
            </option>
        }
    });
    let testing = move || {
        desk.test
            .pending()
            .get()
            .then_some("Trying each step; this takes up to a minute where a server is silent.")
    };
    view! {
        <form method="post" action=SaveSftp::url() class="card settings" node_ref=desk.form on:submit=submit>
            <label class="tick">
                <input type="checkbox" name="entry[enabled]" checked=form.enabled />
                "Use SFTP storage"
            </label>
            <label class="tick">
                <input type="checkbox" name="entry[send_new]" checked=form.send_new />
                "Send every new backup without being asked"
            </label>
            <div class="pair">
                <Text field=SftpField::Host name="entry[host]" value=form.host.clone() desk />
                <Text field=SftpField::Port name="entry[port]" value=form.port.clone() desk />
            </div>
            <div class="pair even">
                <Text field=SftpField::Username name="entry[username]" value=form.username.clone() desk />
                <div class="field">
                    <label for="auth">{SftpField::Auth.label()}</label>
                    <select id="auth" name="entry[auth]" autocomplete="off">
                        {auths}
                    </select>
                </div>
            </div>
            <div class="of-password">
                <Secret field=SftpField::Password name="entry[password]" remove="entry[remove_password]" stored=stored.0 desk />
            </div>
            <div class="of-key">
                <PrivateKey stored=stored.1 desk />
                <Secret field=SftpField::Passphrase name="entry[passphrase]" remove="entry[remove_passphrase]" stored=stored.2 desk />
            </div>
            <Text field=SftpField::RemoteDirectory name="entry[remote_directory]" value=form.remote_directory.clone() desk />
            <p class="sub">"Empty: where the account starts. It is made where it is missing."</p>
            <div class="actions">
                <button class="first" disabled=move || desk.is_busy()>
                    "Save settings"
                </button>
                <button class="second" formaction=TestSftp::url() disabled=move || desk.is_busy()>
                    "Test connection"
                </button>
                <span class="sub">{testing}</span>
            </div>
            <details>
                <summary>"Approve the server's key beforehand"</summary>
                <label>
                    "The server's key: a line of its kind and key, or a SHA256 fingerprint"
                    <input name="line" autocomplete="off" spellcheck="false" />
                </label>
                <button class="second" formaction=TrustHostKey::url()>
                    "Trust this line"
                </button>
            </details>
        </form>
    }
}

/// A key pair made here.
#[component]
fn OwnKey(settings: SftpSettings, desk: Desk) -> impl IntoView {
    let public_key = settings.public_key.map(|line| {
        view! {
            <div class="public">
                <span class="k">"The stored key's public half, for authorized_keys on the server"</span>
                <pre>{line}</pre>
            </div>
        }
    });
    view! {
        <form method="post" action=GenerateSftpKey::url() class="card settings" on:submit=move |event: SubmitEvent| {
            event.prevent_default();
            desk.generate.dispatch(GenerateSftpKey {});
        }>
            <h2>"A key of its own"</h2>
            <p>
                "Makes an Ed25519 key pair. The private half is sealed here, in place of the one that is stored; the public half is shown."
            </p>
            {public_key}
            <div class="actions">
                <button class="second">"Generate a key pair"</button>
            </div>
        </form>
    }
}

/// A field of one line.
#[component]
fn Text(field: SftpField, name: &'static str, value: String, desk: Desk) -> impl IntoView {
    let wrong = move || is_wrong(desk, field);
    view! {
        <label>
            {field.label()}
            <input name=name value=value autocomplete="off" autocapitalize="none" spellcheck="false" aria-invalid=wrong />
        </label>
    }
}

/// A field whose stored value never comes back to the browser.
#[component]
fn Secret(
    field: SftpField,
    name: &'static str,
    remove: &'static str,
    stored: bool,
    desk: Desk,
) -> impl IntoView {
    let wrong = move || is_wrong(desk, field);
    view! {
        <div class="secret">
            <label>
                {field.label()}
                <input
                    type="password"
                    name=name
                    autocomplete="new-password"
                    placeholder=stored.then_some(STORED)
                    aria-invalid=wrong
                />
            </label>
            <Remove name=remove stored />
        </div>
    }
}

#[component]
fn PrivateKey(stored: bool, desk: Desk) -> impl IntoView {
    let wrong = move || is_wrong(desk, SftpField::PrivateKey);
    view! {
        <div class="secret">
            <label>
                {SftpField::PrivateKey.label()}
                <textarea
                    name="entry[private_key]"
                    rows="5"
                    autocomplete="off"
                    spellcheck="false"
                    placeholder=if stored { STORED } else { "-----BEGIN OPENSSH PRIVATE KEY-----" }
                    aria-invalid=wrong
                ></textarea>
            </label>
            <Remove name="entry[remove_private_key]" stored />
        </div>
    }
}

const STORED: &str = "One is stored. Leave this empty to keep it.";

#[component]
fn Remove(name: &'static str, stored: bool) -> impl IntoView {
    stored.then(|| {
        view! {
            <label class="tick">
                <input type="checkbox" name=name autocomplete="off" />
                "Forget the stored one"
            </label>
        }
    })
}

fn is_wrong(desk: Desk, field: SftpField) -> Option<&'static str> {
    desk.problems.get().iter().any(|problem| problem.field == field).then_some("true")
}

/// What a test found, step by step.
#[component]
fn Steps(checklist: Checklist, form: Option<SftpForm>, desk: Desk) -> impl IntoView {
    let Checklist { steps, host_key } = checklist;
    let steps = steps
        .into_iter()
        .map(|StepOutcome { step, state, words, millis }| {
            let tone = match state {
                StepState::Done => "good",
                StepState::Failed => "bad",
                StepState::Skipped | StepState::NotOffered => "",
            };
            let took = (state != StepState::Skipped).then(|| human::duration(millis));
            view! {
                <li>
                    <b>{step.label()}</b>
                    <span class=format!("tag {tone}")>{state.label()}</span>
                    <span class="said">{words}</span>
                    <span class="dim">{took}</span>
                </li>
            }
        })
        .collect_view();
    let approval =
        host_key.filter(|found| !found.is_known()).map(|found| view! { <Approval found form desk /> });
    view! {
        <section class="card steps" aria-label="Connection test">
            <ol>{steps}</ol>
            {approval}
        </section>
    }
}

/// A host key to look at, beside what is pinned.
#[component]
fn Approval(found: HostKeyFound, form: Option<SftpForm>, desk: Desk) -> impl IntoView {
    let HostKeyFound { host, port, key_type, fingerprint, .. } = found.clone();
    let old = found.pinned();
    let old = old.into_iter().map(|key| {
        view! {
            <dt>"Approved before"</dt>
            <dd class="f">{key}</dd>
        }
    });
    let old = old.collect_view();
    view! {
        <form method="post" action=ApproveHostKey::url() class="approval" on:submit=move |event: SubmitEvent| {
            let Ok(asked) = ApproveHostKey::from_event(&event) else { return };
            event.prevent_default();
            desk.approve.dispatch(asked);
        }>
            <dl>
                {old}
                <dt>"The server shows"</dt>
                <dd class="f">{format!("{key_type} {fingerprint}")}</dd>
            </dl>
            <p class="sub">
                "On the server, “ssh-keygen -lf /etc/ssh/ssh_host_…_key.pub” prints its own. Approve only where both are the same."
            </p>
            <input type="hidden" name="host" value=host />
            <input type="hidden" name="port" value=port.to_string() />
            <input type="hidden" name="key_type" value=key_type />
            <input type="hidden" name="fingerprint" value=fingerprint />
            {form.map(|form| view! { <Typed form /> })}
            <button class="second">"Approve this key"</button>
        </form>
    }
}

/// What was typed, secrets apart, so that it is there again after the approval.
#[component]
fn Typed(form: SftpForm) -> impl IntoView {
    let SftpForm { enabled, send_new, host, port, username, auth, remote_directory } = form;
    let on = |ticked: bool| ticked.then(|| "on".to_owned());
    [
        ("entry[enabled]", on(enabled)),
        ("entry[send_new]", on(send_new)),
        ("entry[host]", Some(host)),
        ("entry[port]", Some(port)),
        ("entry[username]", Some(username)),
        ("entry[auth]", Some(auth.value().to_owned())),
        ("entry[remote_directory]", Some(remote_directory)),
    ]
    .into_iter()
    .filter_map(|(name, value)| value.map(|value| view! { <input type="hidden" name=name value=value /> }))
    .collect_view()
}

/// The approved keys of the stored server.
#[component]
fn Trusted(settings: SftpSettings) -> impl IntoView {
    let pins = settings.pins;
    (!pins.is_empty()).then(|| {
        let rows = pins
            .into_iter()
            .map(|key| {
                view! {
                    <dt>{key.key_type.unwrap_or_else(|| "any kind".to_owned())}</dt>
                    <dd class="f">{key.fingerprint}</dd>
                }
            })
            .collect_view();
        view! {
            <section class="card settings" aria-label="Approved host keys">
                <h2>{format!("Approved keys of {}", settings.form.host)}</h2>
                <dl>{rows}</dl>
            </section>
        }
    })
}

/// Forgetting everything: asked in a dialog, or without JavaScript on a page.
#[component]
fn Forget(desk: Desk) -> impl IntoView {
    let dialog = NodeRef::<html::Dialog>::new();
    Effect::new(move |_| {
        let Some(dialog) = dialog.get() else { return };
        if desk.asking.get() && !dialog.open() {
            let _ = dialog.show_modal();
        } else if !desk.asking.get() && dialog.open() {
            dialog.close();
        }
    });
    view! {
        <form method="get" action="/settings/sftp/reset" class="card settings" on:submit=move |event: SubmitEvent| {
            event.prevent_default();
            desk.asking.set(true);
        }>
            <h2>"Start over"</h2>
            <p>"Deletes server, secrets and approved keys from Holdfast. Backups and their copies stay."</p>
            <div class="actions">
                <button class="danger">"Reset settings"</button>
            </div>
        </form>
        <dialog node_ref=dialog role="dialog" aria-labelledby="forget" on:close=move |_| desk.asking.set(false)>
            <h2 id="forget">"Reset the SFTP settings?"</h2>
            <p>{FORGOTTEN}</p>
            <div class="actions">
                <button type="button" class="second" autofocus on:click=move |_| desk.asking.set(false)>
                    "Cancel"
                </button>
                <button type="button" class="danger" on:click=move |_| {
                    desk.reset.dispatch(ResetSftp {});
                }>
                    "Reset"
                </button>
            </div>
        </dialog>
    }
}

const FORGOTTEN: &str = "Server, secrets and approved host keys are deleted here and have to be entered again. The copies on the server stay.";

/// The question as a page.
#[component]
pub fn ResetPage() -> impl IntoView {
    view! {
        <Chrome place=Place::Settings>
            <h1>"Reset the SFTP settings?"</h1>
            <p>{FORGOTTEN}</p>
            <div class="actions">
                <form method="get" action="/settings/sftp">
                    <button class="second">"Cancel"</button>
                </form>
                <form method="post" action=ResetSftp::url()>
                    <button class="danger">"Reset"</button>
                </form>
            </div>
        </Chrome>
    }
}
