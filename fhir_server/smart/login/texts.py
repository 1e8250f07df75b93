"""Every text on the pages of signing in, in English and French, by the name that templates use."""

from collections.abc import Mapping

from fhir_server.errors import Text

TEXTS: Mapping[str, Text] = {
    "sign-in": Text("Sign in", "Connexion"),
    "skip": Text("Skip to content", "Aller au contenu"),
    "patients": Text("You are a patient", "Vous êtes patient"),
    "professionals": Text("You are a health professional", "Vous êtes professionnel de santé"),
    "franceconnect": Text("Sign in with FranceConnect", "S’identifier avec FranceConnect"),
    "franceconnect-about": Text(
        "FranceConnect is the State’s way to sign in to online services.",
        "FranceConnect est la solution de l’État pour sécuriser et simplifier la connexion aux services en ligne.",
    ),
    "psc": Text("Sign in with Pro Santé Connect", "S’identifier avec Pro Santé Connect"),
    "psc-about": Text("With your CPS card or e-CPS.", "Avec votre carte CPS ou votre e-CPS."),
    "or-password": Text("With a login name and password", "Avec un identifiant et un mot de passe"),
    "login": Text("Login name", "Identifiant"),
    "password": Text("Password", "Mot de passe"),
    "continue": Text("Continue", "Continuer"),
    "cancel": Text("Start again", "Recommencer"),
    "problem": Text("This did not work", "Cela n’a pas fonctionné"),
    "wrong-password": Text(
        "Login name or password are not right, or this account cannot be used.",
        "L’identifiant ou le mot de passe est incorrect, ou ce compte n’est pas utilisable.",
    ),
    "too-many": Text(
        "Too many attempts. Please try again in {wait}.", "Trop de tentatives. Veuillez réessayer dans {wait}."
    ),
    "expired": Text(
        "This page has become too old or does not belong to this browser. Please try again.",
        "Cette page a expiré ou ne correspond pas à ce navigateur. Veuillez réessayer.",
    ),
    "signed-out": Text("You are signed out.", "Vous êtes déconnecté."),
    "signed-out-here": Text(
        "You are signed out here. You go on to sign out of the service that has identified you.",
        "Vous êtes déconnecté ici. Vous allez l’être aussi du service qui vous a identifié.",
    ),
    "confirm": Text("Confirm it is you", "Confirmez votre identité"),
    "again-for-change": Text(
        "To change how you sign in, please sign in once more.",
        "Pour modifier vos moyens de connexion, veuillez vous reconnecter.",
    ),
    "second-factor": Text("Second step", "Deuxième étape"),
    "second-factor-about": Text(
        "Confirm that it is you by something that you have.", "Confirmez votre identité avec un objet que vous détenez."
    ),
    "code": Text("Code", "Code"),
    "code-about": Text(
        "The six digits that your authenticator app shows now, or one of your recovery codes.",
        "Les six chiffres affichés par votre application d’authentification, ou l’un de vos codes de secours.",
    ),
    "wrong-code": Text("This code is not right, or has been used.", "Ce code est incorrect ou a déjà servi."),
    "use-key": Text("Use a security key", "Utiliser une clé de sécurité"),
    "use-key-about": Text(
        "Your phone, computer or a key on your key ring. This needs JavaScript.",
        "Votre téléphone, votre ordinateur ou une clé USB. JavaScript est nécessaire.",
    ),
    "key-failed": Text(
        "The security key has not been accepted. Please try again.",
        "La clé de sécurité n’a pas été acceptée. Veuillez réessayer.",
    ),
    "enrol": Text("Protect your account", "Protégez votre compte"),
    "enrol-about": Text(
        "Your health record needs more than a password. Choose a second step; you will be asked for it whenever you "
        "sign in.",
        "Votre dossier de santé demande plus qu’un mot de passe. Choisissez une deuxième étape ; elle vous sera "
        "demandée à chaque connexion.",
    ),
    "app": Text("Authenticator app", "Application d’authentification"),
    "app-about": Text(
        "Open your authenticator app, add an account, and scan this image or type this key.",
        "Ouvrez votre application d’authentification, ajoutez un compte et scannez cette image ou saisissez cette clé.",
    ),
    "app-link": Text("Open in an app on this device", "Ouvrir dans une application de cet appareil"),
    "app-key": Text("Key", "Clé"),
    "qr": Text("Image with the key for an authenticator app", "Image contenant la clé pour l’application"),
    "app-code": Text("Code that the app shows now", "Code affiché par l’application"),
    "app-confirm": Text("Set up the app", "Activer l’application"),
    "key": Text("Security key", "Clé de sécurité"),
    "key-name": Text("Name of this key", "Nom de cette clé"),
    "key-add": Text("Add a security key", "Ajouter une clé de sécurité"),
    "key-remove": Text("Remove", "Supprimer"),
    "key-kept": Text(
        "This key is not removed: it is not there any more, or it is your only second step. Add another one first.",
        "Cette clé n’est pas supprimée : elle n’existe plus, ou c’est votre seule deuxième étape. Ajoutez-en une.",
    ),
    "recovery": Text("Your recovery codes", "Vos codes de secours"),
    "recovery-about": Text(
        "Write these codes down and keep them in a safe place. Each opens your account once if you lose your phone or "
        "key. They are not shown again.",
        "Notez ces codes et conservez-les en lieu sûr. Chacun ouvre votre compte une seule fois si vous perdez votre "
        "téléphone ou votre clé. Ils ne seront plus affichés.",
    ),
    "recovery-done": Text("I have kept them", "Je les ai notés"),
    "situation": Text("Where do you practise now?", "Dans quel cadre exercez-vous maintenant ?"),
    "situation-about": Text(
        "What you do is recorded under this practice.", "Vos actions seront tracées au titre de cet exercice."
    ),
    "no-situation": Text(
        "No practice is known for this account, so that it cannot be used here.",
        "Aucun exercice n’est connu pour ce compte ; il ne peut pas être utilisé ici.",
    ),
    "no-structure": Text("structure not stated", "structure non précisée"),
    "refused": Text("You could not be signed in", "Connexion impossible"),
    "refused-provider": Text(
        "The sign-in was cancelled or could not be verified. Nothing has been kept. Please try again.",
        "La connexion a été annulée ou n’a pas pu être vérifiée. Rien n’a été conservé. Veuillez réessayer.",
    ),
    "refused-patient": Text(
        "We could not find one record for this identity. Please contact support.",
        "Nous n’avons pas pu rattacher cette identité à un dossier. Veuillez contacter l’assistance.",
    ),
    "refused-professional": Text(
        "This account does not open access here: your profession is not among those provided for, or the account is "
        "locked.",
        "Ce compte n’ouvre pas d’accès ici : votre profession n’est pas prévue, ou le compte est verrouillé.",
    ),
    "unavailable": Text(
        "This way to sign in does not answer right now. Please try again later.",
        "Ce mode de connexion ne répond pas actuellement. Veuillez réessayer plus tard.",
    ),
    "back": Text("Back to sign-in", "Retour à la connexion"),
    "account": Text("Your account", "Votre compte"),
    "signed-in-as": Text("Signed in as", "Connecté en tant que"),
    "acts-for": Text("You also act for", "Vous agissez aussi pour"),
    "sign-out": Text("Sign out", "Se déconnecter"),
    "sign-out-question": Text("Do you want to sign out of this browser?", "Voulez-vous vous déconnecter ?"),
    "factors": Text("Second step", "Deuxième étape"),
    "factor-app": Text("Authenticator app: set up", "Application d’authentification : activée"),
    "factor-none": Text("None. Your account rests on the password alone.", "Aucune : seul le mot de passe protège."),
    "factor-external": Text(
        "You sign in through another service, which protects your account.",
        "Vous vous connectez par un autre service, qui protège votre compte.",
    ),
    "codes-left": Text("Recovery codes left: {count}", "Codes de secours restants : {count}"),
    "codes-renew": Text("Make new recovery codes", "Créer de nouveaux codes de secours"),
    "add-factor": Text("Add a second step", "Ajouter une deuxième étape"),
    "sessions": Text("Where you are signed in", "Vos connexions"),
    "this-one": Text("this browser", "ce navigateur"),
    "unknown-browser": Text("Unknown browser", "Navigateur inconnu"),
    "since": Text("since {when}", "depuis le {when}"),
    "end": Text("End", "Mettre fin"),
    "end-others": Text("End all others", "Mettre fin à toutes les autres"),
    "apps": Text("Apps that you have let in", "Applications autorisées"),
    "no-apps": Text("None.", "Aucune."),
    "open": Text("Open", "Ouvrir"),
    "opening": Text("The app is opening.", "L’application s’ouvre."),
    "revoke": Text("Withdraw", "Retirer l’accès"),
    "change-password": Text("Change the password", "Changer le mot de passe"),
    "present-password": Text("Present password", "Mot de passe actuel"),
    "new-password": Text("New password", "Nouveau mot de passe"),
    "new-password-about": Text("At least 12 characters.", "Au moins 12 caractères."),
    "password-changed": Text(
        "The password is changed and all other sign-ins have ended.",
        "Le mot de passe est changé et toutes les autres connexions sont terminées.",
    ),
    "done": Text("Done.", "C’est fait."),
    "language": Text("Language", "Langue"),
}
