//! The SFTP settings page: the form, the connection test, approved host keys, the SSH key, and the reset.

use crate::api::sftp::{
    ApproveHostKey, GenerateSftpKey, ReadSftp, ResetSftp, SaveSftp, SftpEntry, SftpPage, TestSftp,
    TrustHostKey,
};
use crate::model::address::{at, lookup};
use crate::model::copies::WRITE_ONLY;
use crate::model::{
    ActionResult, AppError, Checklist, HostKeyFound, Outcome, SecretsAtHand, SftpAuth, SftpField, SftpForm,
    SftpProblem, SftpSettings, StepOutcome, StepState, human,
};
use crate::ui::components::chrome::{Chrome, Place};
use crate::ui::components::dialog::Dialog;
use crate::ui::components::links::page_button;
use crate::ui::components::notice::{Alert, OutcomeNotices};
use crate::ui::live::requests::{Action, PageData, effect, sent_by};
use leptos::ev::SubmitEvent;
use leptos::html;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos::tachys::html::InertElement;

/// The settings page.
#[component]
pub fn SftpSettingsPage() -> impl IntoView {
    let page = PageData::begin(|search| ReadSftp { outcome: lookup(search, "outcome") });
    let state = PageState {
        page,
        renewing: StoredValue::new(false),
        save: Action::begin(),
        test: Action::begin(),
        approve: Action::begin(),
        other: Action::begin(),
        told: RwSignal::new(None),
        problems: RwSignal::new(Vec::new()),
        form: NodeRef::new(),
        asking: RwSignal::new(false),
    };
    state.renew();
    markup! {
        <Chrome place=Place::Settings>
            <Transition fallback=|| markup! { <p class="loading">"Reading the settings…"</p> }>
                {move || Suspend::new(async move {
                    match page.read().await {
                        Ok(page) => markup! { <Settings page state /> },
                        Err(error) => {
                            markup! {
                                <h1>"SFTP settings"</h1>
                                <Alert message=error.to_string() detail=None />
                            }
                        }
                    }
                })}
            </Transition>
        </Chrome>
    }
}

/// The state of the page, which stays when the settings are read again.
#[derive(Clone, Copy)]
struct PageState {
    page: PageData<SftpPage>,
    /// Whether the form shows the stored settings as soon as they were read again.
    renewing: StoredValue<bool>,
    save: Action,
    test: Action,
    approve: Action,
    other: Action,
    /// The result of the last action.
    told: RwSignal<Option<ActionResult>>,
    /// The problems with the form that the page itself found.
    problems: RwSignal<Vec<SftpProblem>>,
    form: NodeRef<html::Form>,
    /// Whether the dialog to reset the settings is open.
    asking: RwSignal<bool>,
}

impl PageState {
    fn is_busy(self) -> bool {
        self.save.is_pending() || self.test.is_pending() || self.approve.is_pending()
    }

    /// Shows the result of an action. Returns whether it succeeded.
    fn tell(self, answer: Result<ActionResult, AppError>) -> bool {
        let answer = answer.unwrap_or_else(|error| Outcome::refused(error.to_string()).into());
        let went_well = answer.outcome.bad.is_empty();
        self.told.set(Some(answer));
        went_well
    }

    /// Like [`PageState::tell`], for an action that stores something: reads the settings again. With `renews`, the form
    /// then shows them; otherwise it keeps unsaved input.
    fn follow(self, answer: Result<ActionResult, AppError>, renews: bool) {
        if self.tell(answer) {
            self.renewing.set_value(renews);
            self.page.refetch();
        }
    }

    /// After the settings were read again, resets the form to them, which also removes typed secrets from the page.
    fn renew(self) {
        effect(move |_| {
            self.page.track();
            if let (true, Some(form)) = (self.renewing.get_value(), self.form.get_untracked()) {
                self.renewing.set_value(false);
                request_animation_frame(move || form.reset());
            }
        });
    }

    fn reset(self) {
        self.other.ask(ResetSftp {}, move |answer| {
            self.asking.set(false);
            self.follow(answer, true);
        });
    }
}

#[component]
fn Settings(page: SftpPage, state: PageState) -> impl IntoView {
    let SftpPage { settings, told } = page;
    // A form that was tested but not saved comes back as typed, without its secrets.
    let form = told.as_ref().and_then(|told| told.form.clone()).unwrap_or_else(|| settings.form.clone());
    let opened = told.clone();
    let now = Signal::derive(move || state.told.get().or_else(|| opened.clone()).unwrap_or_default());
    let checklist = move || {
        now.get().checklist.map(|checklist| markup! { <Steps checklist form=now.get().form state /> })
    };
    let found = move || {
        let problems = state.problems.get();
        problems
            .into_iter()
            .map(|problem| markup! { <Alert message=problem.sentence detail=None /> })
            .collect_view()
    };
    markup! {
        <div class="head">
            <div>
                <h1>"SFTP settings"</h1>
                <p class="sub">"Where copies of your backups are kept, in case this machine is lost."</p>
            </div>
        </div>
        <div class="halves">
            <Form form settings=settings.clone() state />
            <div class="beside">
                <OutcomeNotices outcome=Signal::derive(move || now.get().outcome) bad=found />
                {move || checklist()}
                <Trusted settings=settings.clone() />
            </div>
            <div class="column">
                <OwnKey settings=settings.clone() state />
                <Reset state />
            </div>
        </div>
    }
}

/// The form. Without JavaScript, each button posts the form to its own address.
#[component]
fn Form(form: SftpForm, settings: SftpSettings, state: PageState) -> impl IntoView {
    let stored = (settings.password_set, settings.private_key_set, settings.passphrase_set);
    let submit = move |event: SubmitEvent| {
        let action = event.submitter().and_then(|button| button.get_attribute("formaction"));
        let Some(sent) = sent_by(&event) else { return };
        event.prevent_default();
        if untrack(|| state.is_busy()) {
            return;
        }
        let testing = action.as_deref() == Some(&*at(TestSftp::url()));
        state.told.set(None);
        state.problems.set(Vec::new());
        if action.as_deref() == Some(&*at(TrustHostKey::url())) {
            let asked = TrustHostKey { line: sent("line").unwrap_or_default(), entry: SftpEntry::read(sent) };
            state.other.ask(asked, move |answer| state.follow(answer, false));
            return;
        }
        let entry = SftpEntry::read(sent);
        let at_hand = SecretsAtHand {
            password: !entry.password.is_empty() || (stored.0 && entry.remove_password.is_none()),
            private_key: !entry.private_key.is_empty() || (stored.1 && entry.remove_private_key.is_none()),
        };
        let typed = entry.form().tidied();
        let problems = if testing { typed.problems_for_check(at_hand) } else { typed.problems(at_hand) };
        if !problems.is_empty() {
            state.problems.set(problems);
        } else if testing {
            state.test.ask(TestSftp { entry }, move |answer| _ = state.tell(answer));
        } else {
            state.save.ask(SaveSftp { entry }, move |answer| state.follow(answer, true));
        }
    };
    // Inert, because redrawing the view would set `selected` again and undo the user's choice.
    let auths = SftpAuth::ALL.into_iter().map(|auth| {
        let selected = if auth == form.auth { " selected" } else { "" };
        let (value, label) = (auth.value(), auth.label());
        InertElement::new(format!("<option value=\"{value}\"{selected}>{label}</option>"))
    });
    let auths = auths.collect_view();
    let testing = move || {
        state
            .test
            .is_pending()
            .then_some("Testing each step. This takes up to a minute if the server does not answer.")
    };
    markup! {
        <form method="post" action=at(SaveSftp::url()) class="card settings" node_ref=state.form on:submit=submit>
            <label class="tick">
                <input type="checkbox" name="entry[enabled]" checked=form.enabled />
                "Use SFTP storage"
            </label>
            <label class="tick">
                <input type="checkbox" name="entry[send_new]" checked=form.send_new />
                "Upload every new backup automatically"
            </label>
            <div class="pair">
                <Text field=SftpField::Host name="entry[host]" value=form.host.clone() state />
                <Text field=SftpField::Port name="entry[port]" value=form.port.clone() state />
            </div>
            <div class="pair even">
                <Text field=SftpField::Username name="entry[username]" value=form.username.clone() state />
                <div class="field">
                    <label for="auth">{SftpField::Auth.label()}</label>
                    <select id="auth" name="entry[auth]" autocomplete="off">
                        {auths}
                    </select>
                </div>
            </div>
            <div class="of-password">
                <Secret field=SftpField::Password name="entry[password]" remove="entry[remove_password]" stored=stored.0 state />
            </div>
            <div class="of-key">
                <PrivateKey stored=stored.1 state />
                <Secret field=SftpField::Passphrase name="entry[passphrase]" remove="entry[remove_passphrase]" stored=stored.2 state />
            </div>
            <Text field=SftpField::RemoteDirectory name="entry[remote_directory]" value=form.remote_directory.clone() state />
            <p class="sub">"Leave empty for the account's home directory. Created if missing."</p>
            <label class="tick">
                <input type="checkbox" name="entry[write_only]" checked=form.write_only />
                {WRITE_ONLY}
            </label>
            <p class="sub">"For a server that accepts files but does not let them be read: copies are marked “sent, not read back”."</p>
            <div class="actions">
                <button class="first" disabled=move || state.is_busy()>
                    "Save settings"
                </button>
                <button class="second" formaction=at(TestSftp::url()) disabled=move || state.is_busy()>
                    "Test connection"
                </button>
                <span class="sub">{move || testing()}</span>
            </div>
            <details>
                <summary>"Approve the server's host key in advance"</summary>
                <label>
                    "Host key: a known_hosts line or a SHA256 fingerprint"
                    <input name="line" autocomplete="off" spellcheck="false" />
                </label>
                <button class="second" formaction=at(TrustHostKey::url())>
                    "Approve pasted key"
                </button>
            </details>
        </form>
    }
}

/// Generating a key pair.
#[component]
fn OwnKey(settings: SftpSettings, state: PageState) -> impl IntoView {
    let public_key = settings.public_key.map(|line| {
        markup! {
            <div class="public">
                <span class="k">"Public key, for authorized_keys on the server"</span>
                <pre>{line}</pre>
            </div>
        }
    });
    markup! {
        <form method="post" action=at(GenerateSftpKey::url()) class="card settings" on:submit=move |event: SubmitEvent| {
            event.prevent_default();
            state.other.ask(GenerateSftpKey {}, move |answer| state.follow(answer, false));
        }>
            <h2>"Generate an SSH key"</h2>
            <p>
                "Creates an Ed25519 key pair. The private key is stored here encrypted, replacing any stored one; the public key is shown."
            </p>
            {public_key}
            <div class="actions">
                <button class="second">"Generate a key pair"</button>
            </div>
        </form>
    }
}

/// A single-line field.
#[component]
fn Text(field: SftpField, name: &'static str, value: String, state: PageState) -> impl IntoView {
    let wrong = move || is_wrong(state, field);
    markup! {
        <label>
            {field.label()}
            <input name=name value=value autocomplete="off" autocapitalize="none" spellcheck="false" aria-invalid=wrong />
        </label>
    }
}

/// A field for a secret. The stored value is never sent to the browser.
#[component]
fn Secret(
    field: SftpField,
    name: &'static str,
    remove: &'static str,
    stored: bool,
    state: PageState,
) -> impl IntoView {
    let wrong = move || is_wrong(state, field);
    markup! {
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
fn PrivateKey(stored: bool, state: PageState) -> impl IntoView {
    let wrong = move || is_wrong(state, SftpField::PrivateKey);
    markup! {
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

const STORED: &str = "Stored. Leave empty to keep it.";

#[component]
fn Remove(name: &'static str, stored: bool) -> impl IntoView {
    stored.then(|| {
        markup! {
            <label class="tick">
                <input type="checkbox" name=name autocomplete="off" />
                "Remove the stored one"
            </label>
        }
    })
}

fn is_wrong(state: PageState, field: SftpField) -> Option<&'static str> {
    state.problems.get().iter().any(|problem| problem.field == field).then_some("true")
}

/// The result of a connection test, step by step.
#[component]
fn Steps(checklist: Checklist, form: Option<SftpForm>, state: PageState) -> impl IntoView {
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
            markup! {
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
        host_key.filter(|found| !found.is_known()).map(|found| markup! { <Approval found form state /> });
    markup! {
        <section class="card steps" aria-label="Connection test">
            <ol>{steps}</ol>
            {approval}
        </section>
    }
}

/// The server's host key, next to the pinned ones, with a button to approve it.
#[component]
fn Approval(found: HostKeyFound, form: Option<SftpForm>, state: PageState) -> impl IntoView {
    let HostKeyFound { host, port, key_type, fingerprint, .. } = found.clone();
    let old = found.pinned();
    let (asked, tried) = (found, form.is_some());
    let old = old.into_iter().map(|key| {
        markup! {
            <dt>"Approved before"</dt>
            <dd class="f">{key}</dd>
        }
    });
    let old = old.collect_view();
    markup! {
        <form method="post" action=at(ApproveHostKey::url()) class="approval" on:submit=move |event: SubmitEvent| {
            let Some(sent) = sent_by(&event) else { return };
            event.prevent_default();
            let HostKeyFound { host, port, key_type, fingerprint, .. } = asked.clone();
            let entry = tried.then(|| SftpEntry::read(sent));
            let asked = ApproveHostKey { host, port, key_type, fingerprint, entry };
            state.approve.ask(asked, move |answer| state.follow(answer, false));
        }>
            <dl>
                {old}
                <dt>"The server shows"</dt>
                <dd class="f">{format!("{key_type} {fingerprint}")}</dd>
            </dl>
            <p class="sub">
                "On the server, “ssh-keygen -lf /etc/ssh/ssh_host_…_key.pub” prints the key. Approve only if both match."
            </p>
            <input type="hidden" name="host" value=host />
            <input type="hidden" name="port" value=port.to_string() />
            <input type="hidden" name="key_type" value=key_type />
            <input type="hidden" name="fingerprint" value=fingerprint />
            {form.map(|form| markup! { <Typed form /> })}
            <button class="second">"Approve this key"</button>
        </form>
    }
}

/// The unsaved form, without secrets, so that the page can show it again after the approval.
#[component]
fn Typed(form: SftpForm) -> impl IntoView {
    let SftpForm { enabled, send_new, host, port, username, auth, remote_directory, write_only } = form;
    let on = |ticked: bool| ticked.then(|| "on".to_owned());
    [
        ("entry[enabled]", on(enabled)),
        ("entry[send_new]", on(send_new)),
        ("entry[host]", Some(host)),
        ("entry[port]", Some(port)),
        ("entry[username]", Some(username)),
        ("entry[auth]", Some(auth.value().to_owned())),
        ("entry[remote_directory]", Some(remote_directory)),
        ("entry[write_only]", on(write_only)),
    ]
    .into_iter()
    .filter_map(|(name, value)| value.map(|value| markup! { <input type="hidden" name=name value=value /> }))
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
                markup! {
                    <dt>{key.key_type.unwrap_or_else(|| "any type".to_owned())}</dt>
                    <dd class="f">{key.fingerprint}</dd>
                }
            })
            .collect_view();
        markup! {
            <section class="card settings" aria-label="Approved host keys">
                <h2>{format!("Approved keys of {}", settings.form.host)}</h2>
                <dl>{rows}</dl>
            </section>
        }
    })
}

/// Resetting the settings: confirmed in a dialog, or without JavaScript on a page.
#[component]
fn Reset(state: PageState) -> impl IntoView {
    let question = || (RESET.to_owned(), markup! { <p>{CONSEQUENCES}</p> });
    markup! {
        <form method="get" action=at("/settings/sftp/reset") class="card settings" on:submit=move |event: SubmitEvent| {
            event.prevent_default();
            state.asking.set(true);
        }>
            <h2>"Reset settings"</h2>
            <p>"Deletes the server, its secrets and approved host keys from Holdfast. Backups and copies stay."</p>
            <div class="actions">
                <button class="danger">"Reset settings"</button>
            </div>
        </form>
        <Dialog asked=state.asking pending=state.other question verb="Reset" confirm=move || state.reset() />
    }
}

const RESET: &str = "Reset the SFTP settings?";
const CONSEQUENCES: &str = "The server, the secrets and the approved host keys are deleted from Holdfast and have to be entered again. The copies on the server stay.";

/// The same confirmation as a page, for browsers without JavaScript.
#[component]
pub fn ResetPage() -> impl IntoView {
    markup! {
        <Chrome place=Place::Settings>
            <h1>{RESET}</h1>
            <p>{CONSEQUENCES}</p>
            <div class="actions">
                {page_button("/settings/sftp", "Cancel")}
                <form method="post" action=at(ResetSftp::url())>
                    <button class="danger">"Reset"</button>
                </form>
            </div>
        </Chrome>
    }
}
